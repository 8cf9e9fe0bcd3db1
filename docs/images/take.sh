#!/usr/bin/env bash
# Takes the pictures of the console that the README shows: of a running service, in Chromium.
# It needs what the browser tests need: TEST_DATABASE_URL, Chromium and chromedriver.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
cargo test --locked --test it -- --ignored --exact browser::pictures_are_taken
