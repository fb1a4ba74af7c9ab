"""A mail with the file, and a link to it that is good for a day."""

import os

from pit.sdk import get_value, s3_presign, send_mail

link = s3_presign("lake", f"claims/{os.environ['PIT_RUN_ID']}.csv", expires="24h")
sent = send_mail(
    "mail",
    "Desk <desk@example.com>",
    f"{get_value('claims', 'convert')} claims",
    text=f"They come to {get_value('euros', 'convert')} euros.\n\n{link}\n",
    attachments="claims.csv",
)
print("accepted by", ", ".join(sent["accepted"]))
