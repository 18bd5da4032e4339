"""``make bench``: the daemon's figures beside those of its peers, measured in the same run. It gates nothing."""
