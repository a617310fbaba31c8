# Brings the newest complete snapshot of a data set back from a Coffre:  powershell -ExecutionPolicy Bypass -File get.ps1 documents C:\path\to\back.zip
# Needs Windows 10 or later (its own curl.exe); box.curl and box.pem lie beside this script. A file that is there stays as it is.
param(
    [Parameter(Mandatory = $true)][string]$DataSet,
    [Parameter(Mandatory = $true)][string]$File
)
$ErrorActionPreference = 'Stop'
$full = $ExecutionContext.SessionState.Path.GetUnresolvedProviderPathFromPSPath($File)
if (Test-Path -LiteralPath $full) {
    [Console]::Error.WriteLine("get: $full is there already: take another name")
    exit 2
}
Set-Location -LiteralPath $PSScriptRoot
$part = "$full.part-$PID"
try {
    $status = & curl.exe -g -sS --ssl-no-revoke -o $part -w '%{http_code}' -K box.curl "https://@AUTHORITY@/v1/datasets/$DataSet/snapshots/latest"
    if ($status -ne '200') {
        $why = if (Test-Path -LiteralPath $part) { [IO.File]::ReadAllText($part) } else { '' }
        [Console]::Error.WriteLine("get: the box did not give it (HTTP $status): $why")
        exit 4
    }
    if ($LASTEXITCODE -ne 0) {
        [Console]::Error.WriteLine("get: it broke off on its way (curl ended with $LASTEXITCODE)")
        exit 4
    }
    # Move never replaces what came meanwhile.
    [IO.File]::Move($part, $full)
    "get: $full is back"
} finally {
    if (Test-Path -LiteralPath $part) { Remove-Item -LiteralPath $part }
}
