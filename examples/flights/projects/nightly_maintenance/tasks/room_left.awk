# Asks df about the workspace's disk; fails when less than LEAST_FREE_MB are left.
# By hand:  LEAST_FREE_MB=50 PIT_WORKSPACE=../.. awk -f tasks/room_left.awk
BEGIN {
    df = "df -Pk \"" ENVIRON["PIT_WORKSPACE"] "\""
    df | getline # the headings
    df | getline
    free_mb = int($4 / 1024)
    printf "%d MB free, %s used\n", free_mb, $5
    exit free_mb < ENVIRON["LEAST_FREE_MB"]
}
