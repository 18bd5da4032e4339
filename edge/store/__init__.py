"""The store: SQLite behind functions that each do one thing of the business. The only package with SQL."""
