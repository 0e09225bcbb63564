package rehearse

import (
	"slices"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/freeport"
)

// The handler of a runtime that restores the terminal before it dies by the signal, such as that of
// Node.js, and the same with a handler of the program.
const givesBack = `
import http.server, os, signal, sys, threading
host, port = os.environ["ADDRESS"].split(":")
server = http.server.ThreadingHTTPServer((host, int(port)), http.server.SimpleHTTPRequestHandler)
server.daemon_threads = True
def again(number, frame):
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
def end(number, frame):
    threading.Timer(1.5, server.shutdown).start()
signal.signal(signal.SIGTERM, {"gives-back": again, "ends": end}[sys.argv[1]])
server.serve_forever()
`

func TestReaction_AHandlerThatGivesTheSignalBackIsNone(t *testing.T) {
	t.Parallel()
	for how, want := range map[string][]Code{"gives-back": {NoReaction}, "ends": nil} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			where := freeport.Address(t)
			r, err := rehearse(t, Config{
				Program: Container{Command: []string{"python3", "-c", givesBack, how}, Env: []string{"ADDRESS=" + where}},
				Traffic: []Target{{URL: "http://" + where + "/"}}, Grace: 4 * time.Second,
			})
			if err != nil {
				t.Fatal(err)
			}
			if fails, _ := codes(r); !slices.Equal(fails, want) {
				t.Errorf("fails %v, want %v\n%s", fails, want, describe(r))
			}
		})
	}
}

// A worker may remove its handler and then finish its work: a quick rehearsal waits for that, which
// it does for no other program.
func TestReaction_AWorkerWithoutItsHandlerIsAwaited(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Log("make test-full: a worker that ends nine seconds after the signal")
		return
	}
	const worker = `
import signal, threading
stopping = threading.Event()
def end(number, frame):
    signal.signal(number, signal.SIG_DFL)
    stopping.set()
signal.signal(signal.SIGTERM, end)
while not stopping.is_set():
    stopping.wait(1)
threading.Event().wait(9)
`
	r, err := rehearse(t, Config{Program: Container{Command: []string{"python3", "-c", worker}}, CutShort: true, Grace: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Findings) != 0 || r.ExitCode != 0 {
		t.Errorf("%s", describe(r))
	}
}
