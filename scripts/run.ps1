# Set lookalike up on Windows, index a folder, and serve it. It stays until Ctrl-C.
# scripts/run does the same elsewhere.
#
#     powershell -ExecutionPolicy Bypass -File scripts\run.ps1 [FOLDER] [-NoServe] [-Port P]
#
# Without FOLDER an empty library gets the sample pictures that come with the project.
# -NoServe ends after indexing.
param(
    [string] $Folder = "",
    [switch] $NoServe,
    [ValidateRange(0, 65535)] [int] $Port = 8000
)
$ErrorActionPreference = "Stop"
$root = Split-Path -Parent $PSScriptRoot
$venv = Join-Path $root ".venv"
$python = Join-Path $venv "Scripts\python.exe"

# Windows PowerShell does not stop at a program that fails
function Invoke-Program {
    param([string] $Program, [string[]] $Arguments)
    & $Program @Arguments
    if ($LASTEXITCODE -ne 0) { exit $LASTEXITCODE }
}

if (-not (Test-Path $python)) {
    $enough = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))"
    $base = $null
    foreach ($name in @("py", "python3", "python")) {
        if (Get-Command $name -ErrorAction SilentlyContinue) {
            # the shop's stand-in for Python fails here, and an old version too
            & $name -c $enough 2>$null
            if ($LASTEXITCODE -eq 0) { $base = $name; break }
        }
    }
    if (-not $base) {
        [Console]::Error.WriteLine("lookalike needs Python 3.11 or newer; install it from python.org, then run this again")
        exit 1
    }
    Invoke-Program $base @("-m", "venv", $venv)
}
$stamp = "$root $((Get-FileHash (Join-Path $root 'pyproject.toml')).Hash)"
$installed = Join-Path $venv ".installed"
if (-not (Test-Path $installed) -or (Get-Content $installed -Raw).Trim() -ne $stamp) {
    Write-Host "installing lookalike into .venv: this takes some minutes"
    Invoke-Program $python @("-m", "pip", "install", "--disable-pip-version-check", "-e", $root)
    Set-Content -Path $installed -Value $stamp
}
$lookalike = Join-Path $venv "Scripts\lookalike.exe"
if ($Folder) {
    Invoke-Program $lookalike @("index", $Folder)
} elseif ((& $lookalike status --json | ConvertFrom-Json).pictures -eq 0) {
    Invoke-Program $lookalike @("index", (Join-Path $root "search\samples"))
}
if (-not $NoServe) {
    Invoke-Program $lookalike @("serve", "--port", "$Port")
}
