"""The names that older scripts import; new ones import `pit.sdk`."""

from pit.sdk import *  # noqa: F403
from pit.sdk import ftp_download as ftp_download
from pit.sdk import ftp_upload as ftp_upload
