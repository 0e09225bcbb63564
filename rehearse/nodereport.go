package rehearse

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
)

const (
	// sigusr2 is SIGUSR2 of Linux. Not every system that compiles this has one.
	sigusr2 = syscall.Signal(12)
	// reportName is the file of a diagnostic report of Node.js.
	reportName = "report.json"
	// aboutReport is in everything that Node.js writes to its output about a report.
	aboutReport = "Node.js report"
	nodeOptions = "NODE_OPTIONS"
)

// reportOptions makes Node.js write a diagnostic report into a directory at SIGUSR2. An option that
// Node.js does not know would keep it from starting: 18 has all of these. What leaves out the
// network and the environment came later.
func reportOptions(dir string) string {
	quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(dir)
	return `--report-on-signal --report-signal=SIGUSR2 --report-compact --report-filename=` + reportName + ` "--report-directory=` + quoted + `"`
}

// nameReports names the directory for the report of a program on this machine.
func (c *Config) nameReports() {
	if c.Program.Image == nil {
		c.Program.reports = filepath.Join(os.TempDir(), "lastcall-rehearse-"+rand.Text())
	}
}

// nodeDump asks a program in Node.js for a report, and returns nil for one that would not write it.
// The directory is there only until the report has been read, since a report has the environment:
// no other user can read it, and a rehearsal that is killed leaves it behind in that second alone.
func (p *program) nodeDump() *dump {
	dir := p.container.reports
	if handled, known := p.handles(sigusr2); dir == "" || known && !handled {
		return nil
	}
	// The program knows the name, and may have put something there.
	if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700)); err != nil {
		return nil
	}
	return &dump{
		signal: sigusr2, what: "event loop",
		complete: func(bool) bool {
			report, _ := readReport(dir)
			return json.Valid(report)
		},
		read: func(output string) []Stack {
			report, err := readReport(dir)
			if os.IsNotExist(err) && !strings.Contains(output, aboutReport) {
				// It writes the report in its event loop.
				return []Stack{{Count: 1, State: "not back in the event loop after a second", Frames: []string{"JavaScript"}}}
			}
			return nodeStacks(report)
		},
		done: func() { _ = os.RemoveAll(dir) }, // what the program has put there may not be removable
	}
}

// readReport returns the start of a report. What the program has put there instead is not followed
// and not waited for.
func readReport(dir string) ([]byte, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := root.OpenFile(reportName, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", reportName)
	}
	return io.ReadAll(io.LimitReader(f, maxDump))
}

// nodeReport is what is read of a report: that of the program, with those of its worker threads.
type nodeReport struct {
	JavascriptStack struct{ Stack []string }
	Libuv           []nodeHandle
	Workers         []nodeReport
}

// nodeHandle is a handle of an event loop. The endpoints have other forms for other types.
type nodeHandle struct {
	Type           string
	Active         bool `json:"is_active"`
	Referenced     bool `json:"is_referenced"`
	LocalEndpoint  json.RawMessage
	RemoteEndpoint json.RawMessage
}

// nodeStacks parses a report: where the worker threads are, and the handles that keep event loops
// alive. The main thread is where it writes the report.
func nodeStacks(report []byte) []Stack {
	var main nodeReport
	if err := json.Unmarshal(report, &main); err != nil {
		return nil // it is not complete, or of another form
	}
	var running, alive []Stack
	for _, thread := range append([]nodeReport{main}, main.Workers...) {
		s := Stack{Count: 1, State: "running"}
		for _, line := range thread.JavascriptStack.Stack {
			if m := nodeFrame.FindStringSubmatch(line); m != nil {
				s.Frames = append(s.Frames, cmp.Or(m[1], "(anonymous)")+" "+scriptFile(m[2])+":"+m[3])
			}
		}
		if withoutLeading(&s, ofNode) {
			running = append(running, s)
		}
		for _, h := range thread.Libuv {
			if h.Active && h.Referenced {
				alive = append(alive, Stack{Count: 1, State: "keeps the event loop alive", Frames: []string{h.String()}})
			}
		}
	}
	all := append(grouped(running, ofNode), grouped(alive, ofNode)...)
	return all[:min(maxStacks, len(all))]
}

// nodeFrame is a line of a stack in a report: the function, the script and the line.
var nodeFrame = regexp.MustCompile(`^at (.*) \((.*):(\d+):\d+\)$`)

// String is the type of a handle, with the address of one that listens.
func (h nodeHandle) String() string {
	var local struct {
		IP4, IP6 string
		Port     int
	}
	err := json.Unmarshal(h.LocalEndpoint, &local)
	if listens := string(h.RemoteEndpoint) == "null"; err != nil || !listens || local.Port == 0 {
		return h.Type
	}
	return h.Type + " " + net.JoinHostPort(cmp.Or(local.IP4, local.IP6), strconv.Itoa(local.Port))
}

// scriptFile is the file of a script, or its address if it is not in a file.
func scriptFile(address string) string {
	if u, err := url.Parse(address); err == nil && u.Scheme == "file" {
		return u.Path
	}
	return address
}

// ofNode reports whether a frame is in a library of Node.js.
func ofNode(frame string) bool { return strings.Contains(frame, " node:") }
