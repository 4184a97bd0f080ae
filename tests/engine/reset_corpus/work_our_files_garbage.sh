# our own files in work are garbage: they outlive a reset
# symptom: none
set -e
mkdir -p ~/work/.gpucamp
cd ~/work/.gpucamp

for name in doctor-report.json install-again.lock install-again.json layout.json examples; do
    head -c 5000 /dev/urandom > $name
done
mkdir -p runs/20260101-000000-abcdef runs/20260101-000001-abcdef runs/not-a-run
head -c 5000 /dev/urandom > runs/20260101-000000-abcdef/run.json
echo '{"id": "20260101-000001-abcdef", "state": "running", "owner": null}' > runs/20260101-000001-abcdef/run.json
head -c 5000 /dev/urandom > runs/20260101-000001-abcdef/run.log
echo x > runs/20260101-000002-abcdef
