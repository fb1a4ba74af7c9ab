"""What is declared: pit.toml and pit_config.toml as records, checked."""
