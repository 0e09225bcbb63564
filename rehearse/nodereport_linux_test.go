package rehearse

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/fixes"
)

// A program in Node.js that hangs says what keeps its event loop alive and where a worker thread
// is, or else that it does not come back to its event loop. The directory of the report is removed.
func TestNodeReport_NamesWhatKeepsNodeBusyAndAlive(t *testing.T) {
	if testing.Short() {
		t.Log("make test-full: three programs in Node.js that run until they are killed")
		return
	}
	t.Setenv("TMPDIR", t.TempDir())
	node := executable(t, fixes.Node, fixes.Program{})[0]
	for _, c := range []struct{ program, want string }{
		{"setTimeout(() => {}, 1e9)\nprocess.on('SIGTERM', () => {})\nprocess.on('SIGUSR2', () => {})\n", "timer"},
		{"process.on('SIGTERM', function spin() { for (;;) {} })\nsetTimeout(() => {}, 1e9)\n", "JavaScript"},
		{"process.on('SIGTERM', () => {})\nnew (require('worker_threads').Worker)('function spin() { for (;;) {} }\\nspin()', { eval: true })\n", "spin [worker eval]:1"},
	} {
		file := filepath.Join(t.TempDir(), "program.js")
		if err := os.WriteFile(file, []byte(c.program), 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := rehearse(t, Config{
			Program: Container{Command: []string{node, file}, Env: []string{"NODE_OPTIONS=--no-warnings"}},
			Grace:   time.Second,
		})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(r.Stacks, func(s Stack) bool { return s.Count == 1 && s.Frames[0] == c.want }) {
			t.Errorf("no %s in %+v\n%s", c.want, r.Stacks, describe(r))
		}
		if fails, _ := codes(r); !slices.Equal(fails, []Code{TooSlow}) || r.ExitCode != 137 {
			t.Errorf("fails %v with exit code %d: that it was asked is no end of its own", fails, r.ExitCode)
		}
	}
	if left, err := filepath.Glob(filepath.Join(os.TempDir(), "*")); err != nil || len(left) > 0 {
		t.Errorf("%v, %v are left", left, err)
	}
}

// recordedReport is as Node.js 20 writes it, without most of what is not read.
const recordedReport = `{"header":{"reportVersion":4,"event":"SIGUSR2"},"javascriptStack":{"message":"","errorProperties":{}},"libuv":[
{"type":"async","is_active":true,"is_referenced":false},
{"type":"timer","is_active":true,"is_referenced":true,"repeat":0,"firesInMsFromNow":99999421,"expired":false},
{"type":"idle","is_active":false,"is_referenced":true},
{"type":"signal","is_active":true,"is_referenced":false,"signum":12,"signal":"SIGUSR2"},
{"type":"tcp","is_active":true,"is_referenced":true,"localEndpoint":{"host":"localhost","ip4":"127.0.0.1","port":36647},"remoteEndpoint":null},
{"type":"tcp","is_active":true,"is_referenced":true,"localEndpoint":{"host":"localhost","ip4":"127.0.0.1","port":49508},"remoteEndpoint":{"host":"localhost","ip4":"127.0.0.1","port":36647}},
{"type":"tcp","is_active":true,"is_referenced":true,"localEndpoint":{"host":"localhost","ip4":"127.0.0.1","port":36647},"remoteEndpoint":{"host":"localhost","ip4":"127.0.0.1","port":49508}},
{"type":"pipe","is_active":true,"is_referenced":true,"localEndpoint":"/run/a.sock","remoteEndpoint":null},
{"type":"loop","is_active":true,"loopIdleTimeSeconds":0.1}],"workers":[
{"header":{"threadId":1},"javascriptStack":{"message":"Signal","stack":["at runScriptInThisContext (node:internal/vm:209:10)","at spin ([worker eval]:1:17)","at  (file:///a%20b.mjs:2:1)","at x"]},
"libuv":[{"type":"timer","is_active":false,"is_referenced":false}]},
{"header":{"threadId":2},"javascriptStack":{"message":"Signal","stack":["at  (node:internal/per_context/messageport:23:28)"]},"libuv":[]}]}`

// What holds nothing, and a thread that is in a library of Node.js only, say nothing about the
// program; and whatever is no report is ignored.
func TestNodeReport_OfAnyText(t *testing.T) {
	for _, text := range []string{"", "{", "[]", "7", `{"libuv":7}`, `{"javascriptStack":{"stack":["at","at  ()"]},"workers":[{}]}`, recordedReport[:len(recordedReport)-1]} {
		if got := nodeStacks([]byte(text)); len(got) != 0 {
			t.Errorf("%q: %+v", text, got)
		}
	}
	var got []string
	for _, s := range nodeStacks([]byte(recordedReport)) {
		got = append(got, fmt.Sprint(s.Count, " ", strings.Join(s.Frames, " < ")))
	}
	want := []string{"1 spin [worker eval]:1 < (anonymous) /a b.mjs:2", "2 tcp", "1 timer", "1 tcp 127.0.0.1:36647", "1 pipe"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// What a program puts in the place of its report is not followed, and not waited for.
func TestNodeReport_IsARegularFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, reportName)
	for name, put := range map[string]func() error{
		"a link":      func() error { return os.Symlink("/etc/hostname", file) },
		"a pipe":      func() error { return syscall.Mkfifo(file, 0o600) },
		"a directory": func() error { return os.Mkdir(file, 0o700) },
	} {
		if err := put(); err != nil {
			t.Fatal(err)
		}
		if text, err := readReport(dir); err == nil || os.IsNotExist(err) {
			t.Errorf("%s: %q, %v", name, text, err)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
}

// The options are added to the program's own ones, whichever directory it is.
func TestNodeReport_KeepsOptions(t *testing.T) {
	t.Setenv(nodeOptions, "--of-this-process")
	for _, c := range []struct {
		env  []string
		dir  string
		want string
	}{
		{nil, "", "--of-this-process"},
		{nil, "/d", "--of-this-process " + reportOptions("/d")},
		{[]string{"NODE_OPTIONS=--own"}, `/a "b\`, `--own ` + strings.TrimSuffix(reportOptions("/"), `/"`) + `/a \"b\\"`},
	} {
		all := (&Container{Env: c.env, reports: c.dir}).environment()
		if !slices.Contains(all, nodeOptions+"="+c.want) {
			t.Errorf("no %s in %q", c.want, all)
		}
	}
}
