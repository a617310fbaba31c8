# Pushes one file to a Coffre:  powershell -ExecutionPolicy Bypass -File push.ps1 C:\path\to\file.zip documents
# Needs Windows 10 or later (its own curl.exe); box.curl and box.pem lie beside this script.
# --ssl-no-revoke: the box's own authority publishes no list of revoked certificates, and Windows would insist on one.
param(
    [Parameter(Mandatory = $true)][string]$File,
    [string]$DataSet = 'documents'
)
$ErrorActionPreference = 'Stop'
$full = (Resolve-Path -LiteralPath $File).ProviderPath
Set-Location -LiteralPath $PSScriptRoot
& curl.exe --ssl-no-revoke -K box.curl -T $full "https://@AUTHORITY@/v1/datasets/$DataSet"
if ($LASTEXITCODE -ne 0) {
    [Console]::Error.WriteLine("push: the box did not take $full (curl ended with $LASTEXITCODE)")
    exit 1
}
