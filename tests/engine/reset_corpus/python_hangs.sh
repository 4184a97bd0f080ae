# bin/python never ends
# symptom: python, kernel
set -e
rm -f ~/.venv/bin/python*
printf '#!/bin/sh\nexec sleep infinity\n' > ~/.venv/bin/python
chmod +x ~/.venv/bin/python
