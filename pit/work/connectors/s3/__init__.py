"""Objects of S3-compatible storage: the methods `s3_*`."""
