"""What users declare: pit.toml and pit_config.toml, checked, as records of `pit.model`."""
