package stop_test

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"sync"
	"time"
)

// programVariable names the test whose program this process is; see start.
const programVariable = "LASTCALL_TEST_PROGRAM"

// The tests run in parallel, so they forget the platform once: where nobody
// has said anything to the process, every default is the same.
var _ = forgetPlatform()

func forgetPlatform() error {
	if os.Getenv(programVariable) != "" {
		return nil // what a test tells its program counts
	}
	return errors.Join(os.Unsetenv("KUBERNETES_SERVICE_HOST"), os.Unsetenv("NOTIFY_SOCKET"), os.Unsetenv("LASTCALL_GRACE"))
}

// patience is for events that come at once or not at all; only a failing test
// waits so long.
const patience = 20 * time.Second

// transcript collects lines and tells when more have come.
type transcript struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{}
}

func (w *transcript) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.changed != nil {
		close(w.changed)
		w.changed = nil
	}
	return w.text.Write(b)
}

func (w *transcript) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// find returns the first complete line that contains text, or a channel that
// closes when there is more to look at.
func (w *transcript) find(text string) (string, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for line := range strings.Lines(w.text.String()) {
		if strings.Contains(line, text) && strings.HasSuffix(line, "\n") {
			return strings.TrimSpace(line), nil
		}
	}
	if w.changed == nil {
		w.changed = make(chan struct{})
	}
	return "", w.changed
}

// await returns the first line that contains text as soon as there is one, and
// nothing when patience or the source of lines has ended.
func (w *transcript) await(text string, ended <-chan struct{}) string {
	timeout := time.After(patience)
	for {
		line, changed := w.find(text)
		if line != "" {
			return line
		}
		select {
		case <-changed:
		case <-ended:
			line, _ = w.find(text)
			return line
		case <-timeout:
			return ""
		}
	}
}
