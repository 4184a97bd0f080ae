# numpy whose compiled part was built for another Python
# fails: python -c 'import numpy'
set -e
cp -rs /opt/gpucamp/base/lib/python3.11/site-packages/numpy ~/.venv/lib/python3.11/site-packages/numpy
cd ~/.venv/lib/python3.11/site-packages/numpy/_core
for library in _multiarray_umath.cpython-311-*; do
    mv "$library" "$(echo "$library" | sed s/311/38/)"
done
