"""What Pit does for tasks beyond their own process: HTTP, S3, mail, chat, FTP, SFTP."""
