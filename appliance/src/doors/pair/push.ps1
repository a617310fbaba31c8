# Pushes one file to a Coffre:  powershell -ExecutionPolicy Bypass -File push.ps1 C:\path\to\file.zip documents
# Needs Windows 10 or later (its own curl.exe); box.curl and box.pem lie beside this script. Each push is a new snapshot.
# --ssl-no-revoke: the box's own authority publishes no list of revoked certificates, and Windows would insist on one.
# -g: curl would take {a,b} and [1] in a file's name for several files. The status is looked at here: a curl.exe before 7.76
# does not know fail-with-body, and would end with 0 whatever the box says.
param(
    [Parameter(Mandatory = $true)][string]$File,
    [Parameter(Mandatory = $true)][string]$DataSet
)
$ErrorActionPreference = 'Stop'
$full = (Resolve-Path -LiteralPath $File).ProviderPath
Set-Location -LiteralPath $PSScriptRoot
$answer = [IO.Path]::GetTempFileName()
try {
    $status = & curl.exe -g -sS --ssl-no-revoke -o $answer -w '%{http_code}' -K box.curl -T $full "https://@AUTHORITY@/v1/datasets/$DataSet"
    if ($status -ne '201') {
        [Console]::Error.WriteLine("push: the box did not take $full (HTTP $status): $([IO.File]::ReadAllText($answer))")
        exit 4
    }
    "push: $full is in the box, as @CLIENT@/$DataSet"
} finally {
    Remove-Item -LiteralPath $answer
}
