package rehearse

import (
	"bytes"
	"strings"
	"sync"
)

// maxOutput bounds how much of a program's output is kept.
const maxOutput = 64 << 10

// lastLines keeps the end of what a program writes. It accepts everything at once: output that
// nobody reads would block the program.
type lastLines struct {
	mu   sync.Mutex
	text []byte

	held      chan struct{} // nil unless nobody reads
	stuck     chan struct{} // closed when a writer waits
	recording []byte        // what was written since record, up to its capacity
}

// hold makes writers wait until release is called. It returns a channel that is closed when the
// first writer waits.
func (l *lastLines) hold() (stuck <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held, l.stuck = make(chan struct{}), make(chan struct{})
	return l.stuck
}

// release lets writers continue.
func (l *lastLines) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held != nil {
		close(l.held)
		l.held = nil
	}
}

// record keeps everything that is written from now on, up to a number of bytes.
func (l *lastLines) record(most int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.recording = make([]byte, 0, most)
}

// recorded returns what was written since record.
func (l *lastLines) recorded() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.recording)
}

// Write implements io.Writer, for the output of the program. One goroutine calls it.
func (l *lastLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	held := l.held
	if held != nil {
		close(l.stuck)
	}
	l.mu.Unlock()
	if held != nil {
		<-held
	}
	l.keep(p)
	return len(p), nil
}

// alongside is the output of the commands of hooks and probes: a container runtime reads it apart
// from the program's, and so nothing holds it.
type alongside struct{ lines *lastLines }

// Write implements io.Writer.
func (a alongside) Write(p []byte) (int, error) {
	a.lines.keep(p)
	return len(p), nil
}

// keep keeps the end of what was written.
func (l *lastLines) keep(p []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.recording = append(l.recording, p[:min(len(p), cap(l.recording)-len(l.recording))]...)
	if len(p) >= maxOutput {
		l.text = append(l.text[:0], p[len(p)-maxOutput:]...)
		return
	}
	if over := len(l.text) + len(p) - maxOutput; over > 0 {
		l.text = append(l.text[:0], l.text[over:]...)
	}
	l.text = append(l.text, p...)
}

// lines returns the last n lines, without characters that are not text.
func (l *lastLines) lines(n int) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := strings.Split(strings.ToValidUTF8(string(bytes.TrimSpace(l.text)), "?"), "\n")
	if len(all) == 1 && all[0] == "" {
		return nil
	}
	return all[max(0, len(all)-n):]
}

// contains reports whether the kept output contains a text.
func (l *lastLines) contains(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Contains(l.text, []byte(text))
}
