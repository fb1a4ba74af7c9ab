"""Files on a server, for scripts that import `pit_sdk.ftp`."""

from pit.sdk import ftp_download as ftp_download
from pit.sdk import ftp_list as ftp_list
from pit.sdk import ftp_move as ftp_move
from pit.sdk import ftp_upload as ftp_upload
