package lastcall

import (
	"os"
	"slices"
	"strings"
	"time"
)

const (
	defaultTerminationLog = "/dev/termination-log"
	terminationLogSize    = 4096 // what the kubelet reads
)

// writeTerminationLog leaves the report where the platform looks for it, once.
// The file is never created: where there is none, nobody looks. It is never
// empty in between either: the watchdog may end the process at any moment.
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
	text := shorten(m.group.reportSoFar().String(), terminationLogSize)
	m.logOnce.Do(func() {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return
		}
		defer f.Close()
		if _, err := f.WriteString(text); err == nil {
			_ = f.Truncate(int64(len(text)))
		}
	})
}

// reportSoFar is a copy of the report: what prints it calls the Error methods
// of others, and must not hold mu while it does.
func (g *Group) reportSoFar() Report {
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.report
	r.Took = time.Since(r.Began)
	r.Finished, r.Interrupted, r.Abandoned = slices.Clone(r.Finished), slices.Clone(r.Interrupted), slices.Clone(r.Abandoned)
	r.Failures = slices.Clone(r.Failures)
	return r
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
