package lastcall

import (
	"os"
	"strings"
)

const (
	defaultTerminationLog = "/dev/termination-log"
	terminationLogSize    = 4096 // what the kubelet reads
)

// writeTerminationLog leaves the report where the platform looks for it. The
// file is never created: where there is none, nobody looks.
func (m *process) writeTerminationLog() {
	path := m.cfg.TerminationLog
	switch path {
	case "-":
		return
	case "":
		path = defaultTerminationLog
	}
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return
	}
	defer f.Close()
	m.group.mu.Lock()
	text := m.group.report.String()
	m.group.mu.Unlock()
	_, _ = f.WriteString(shorten(text, terminationLogSize))
}

// shorten cuts a text between lines, and says so.
func shorten(text string, size int) string {
	if len(text) <= size {
		return text
	}
	const more = "... the log has the rest\n"
	text = text[:size-len(more)]
	if i := strings.LastIndexByte(text, '\n'); i >= 0 {
		text = text[:i+1]
	}
	return text + more
}
