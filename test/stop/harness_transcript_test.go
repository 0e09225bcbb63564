package stop_test

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"sync"
	"time"
)

// programVariable names the test whose program this process runs; see start.
const programVariable = "LASTCALL_TEST_PROGRAM"

// The tests run in parallel, so the platform's variables are removed once, before all tests.
// Without them every default is the same everywhere.
var _ = forgetPlatform()

func forgetPlatform() error {
	if os.Getenv(programVariable) != "" {
		return nil // the variables that a test sets for its program are kept
	}
	return errors.Join(os.Unsetenv("KUBERNETES_SERVICE_HOST"), os.Unsetenv("NOTIFY_SOCKET"), os.Unsetenv("LASTCALL_GRACE"))
}

// patience is for events that occur at once or not at all. Only a failing test waits that long.
const patience = 20 * time.Second

// transcript collects lines, and notifies its readers of new ones.
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

// find returns the first complete line that contains text, or a channel that is closed when there
// is more to search.
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

// await returns the first line that contains text as soon as there is one. It returns "" when
// patience is over or the source of lines has ended.
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
