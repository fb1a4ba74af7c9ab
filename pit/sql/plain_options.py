"""The fields and options of connections that are no secret: where a database is, and how to talk.

They stay readable in logs and errors, which would be riddles without them. What is not in this list
is taken for a secret, for nobody knows what it is: so is what opens something (`password`,
`sslpassword`, `scram_client_key`, `oauth_client_secret`, `accesstoken`, `keystoresecret`, SQLite's
`key`), what may hold such a thing among others (`pqopt`, `connsettings`, `clientcertificate`), and
half of a pair of keys (`access_key`).
"""

from __future__ import annotations

from pit.text import regex

_SEPARATORS = regex.lazy(r"[ _-]+")


def plain_name(name: str) -> str:
    """A name as it is compared: `Connect Timeout`, `connect-timeout` and `connect_timeout`."""
    return _SEPARATORS.sub("", name.lower())


_PLACE = """
    host hostaddr hostname server servername address addr port instance domain network path dsn
    filedsn dbq database dbname schema catalog role warehouse user username uid driver odbc_driver
"""
_POSTGRES = """
    sslmode sslcert sslkey sslrootcert sslcrl sslcrldir sslcertmode sslsni sslcompression
    sslnegotiation requiressl ssl_min_protocol_version ssl_max_protocol_version
    min_protocol_version max_protocol_version channel_binding require_auth requirepeer
    gssencmode gsslib gssdelegation krbsrvname connect_timeout tcp_user_timeout keepalives
    keepalives_idle keepalives_interval keepalives_count target_session_attrs load_balance_hosts
    options application_name fallback_application_name client_encoding replication service
    servicefile passfile oauth_issuer oauth_client_id oauth_scope
"""
_ODBC = """
    encrypt encryption trustservercertificate hostnameincertificate servercertificate
    trusted_connection integrated_security serverspn failover_partner failoverpartnerspn
    applicationintent multisubnetfailover transparentnetworkipresolution columnencryption
    mars_connection packet_size connection_timeout dial_timeout login_timeout query_timeout
    timeout connectretrycount connectretryinterval keepalive keepaliveinterval app app_name wsid
    workstation_id language regional autotranslate quotedid ansinpw usefmtonly tds_version
    clientcharset charset log readonly protocol fetch usedeclarefetch useserversideprepare
    boolsaschar byteaaslongvarbinary textaslongvarchar unknownsaslongvarchar unknownsizes
    maxvarcharsize maxlongvarcharsize lowercaseidentifier updatablecursors
"""
_DUCKDB = """
    threads worker_threads external_threads memory_limit max_memory temp_directory
    max_temp_directory_size access_mode timezone default_order default_null_order
    preserve_insertion_order home_directory extension_directory autoinstall_known_extensions
    autoload_known_extensions allow_unsigned_extensions enable_external_access
    checkpoint_threshold wal_autocheckpoint
"""
_SQLITE = """
    mode foreign_keys journal_mode synchronous busy_timeout cache_size temp_store mmap_size
    page_size locking_mode auto_vacuum recursive_triggers secure_delete query_only
    read_uncommitted case_sensitive_like defer_foreign_keys trusted_schema
"""

PLAIN_OPTIONS = frozenset(
    plain_name(name)
    for names in (_PLACE, _POSTGRES, _ODBC, _DUCKDB, _SQLITE)
    for name in names.split()
)
"""As `plain_name` writes them."""
