#!/usr/bin/env bash
# Make docs/user/images anew from real runs of the examples. Needs Chromium and pdftoppm (apt: chromium, poppler-utils).
# The flights pictures need that example's data and models: `make demo-offline` makes them.
set -euo pipefail
cd "$(dirname "$0")/.."

images=docs/user/images
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome) || {
  echo "screenshots: no Chromium found; install the package chromium" >&2
  exit 1
}
command -v pdftoppm >/dev/null || { echo "screenshots: no pdftoppm found; install the package poppler-utils" >&2; exit 1; }
export PYTHONPATH=operator

# evaluate MANIFEST DATA MODELS PAGE: a refused model is as good a picture as any, so its exit code doesn't matter.
evaluate() {
  local code=0
  .venv/bin/python -m mandate.cli evaluate -f "$1" --mount "pvc://data=$2" --mount "pvc://models=$3" \
    -o "html=$4" >/dev/null || code=$?
  [ -s "$4" ] || { echo "screenshots: mandate evaluate -f $1 ended with $code" >&2; exit 1; }
}

# picture PAGE IMAGE [OPTION…]: of hack/picture.py, which refuses pages that are wider than their window.
picture() {
  local page=$1 image=$2
  shift 2
  .venv/bin/python hack/picture.py "$browser" "$page" "$image" "$@"
  echo "$image"
}

mkdir -p "$images"
credit=$work/credit.html
evaluate examples/credit/credit.yaml examples/credit/data examples/credit/models "$credit"
phone=(--phone --width 390 --height 844)
picture "$credit" "$images/credit-light.png"
picture "$credit" "$images/credit-dark.png" --scheme dark
picture "$credit" "$images/credit-phone.png" "${phone[@]}"
picture "$credit" "$work/credit-phone-dark.png" "${phone[@]}" --scheme dark
picture "$credit" "$work/credit.pdf"
for page in 1 2; do
  pdftoppm -r 80 -f "$page" -l "$page" -singlefile -png "$work/credit.pdf" "$images/credit-print-$page"
  echo "$images/credit-print-$page.png"
done

flights=out/flights
if [ -f "$flights/data/flights.parquet" ] && [ -f "$flights/models/flights/1/model.onnx" ]; then
  evaluate examples/flights/flights-v1.yaml "$flights/data" "$flights/models" "$work/flights.html"
  picture "$work/flights.html" "$images/flights-light.png"
  picture "$work/flights.html" "$work/flights-phone.png" "${phone[@]}"
fi
find "$images" -name '*.png' -size +300k -print | sed 's/^/too large: /' | { ! grep .; }
