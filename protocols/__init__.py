"""How the wire works: meters over Modbus and MQTT, messages of the head end. Knows nothing of money."""
