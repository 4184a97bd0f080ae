# folders in folders in the home, deeper than any path
# fails: /usr/bin/python3 -c 'import os; [os.stat(os.path.join(*f[:1])) for f in os.walk(os.path.expanduser("~"), onerror=lambda e: exit(1))]'
set -e
/usr/bin/python3 - <<'END'
import os
os.chdir(os.path.expanduser("~"))
for _ in range(3000):
    os.mkdir("deep")
    os.chdir("deep")
END
