package rehearse

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/fixes"
)

// A program in Node.js that hangs is asked what its thread does, and what keeps its event loop
// alive.
func TestInspector_NamesWhatKeepsNodeBusyAndAlive(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Log("make test-full: a Node.js that is busy until it is killed")
		return
	}
	const program = "setTimeout(() => {}, 1e9)\nprocess.on('SIGTERM', function spin() { for (;;) {} })\n"
	file := filepath.Join(t.TempDir(), "program.js")
	if err := os.WriteFile(file, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := rehearse(t, Config{
		Program: Container{
			Command: append(executable(t, fixes.Node, fixes.Program{})[:1], file),
			Env:     []string{"NODE_OPTIONS=--inspect-port=0"}, // another test has the usual port
		},
		Grace: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	at := func(frame string) bool {
		return slices.ContainsFunc(r.Stacks, func(s Stack) bool { return s.Count == 1 && s.Frames[0] == frame })
	}
	if !at("spin "+file+":2") || !at("Timeout") {
		t.Errorf("no spin and no Timeout in %+v\n%s", r.Stacks, describe(r))
	}
	if fails, _ := codes(r); !slices.Equal(fails, []Code{TooSlow}) || r.ExitCode != 137 {
		t.Errorf("fails %v with exit code %d: that it was asked is no end of its own", fails, r.ExitCode)
	}
}

// A pause in a library of Node.js says nothing about the program, and whatever is no answer is
// ignored.
func TestInspection_OfAnyMessages(t *testing.T) {
	for _, request := range inspections {
		if len(request) > maxControl {
			t.Errorf("%s has %d bytes, more than a short frame has", request, len(request))
		}
	}
	const alive = `{"id":1,"result":{"result":{"type":"object","value":["Timeout","TCPSocketWrap","Timeout"]}}}`
	for _, c := range []struct {
		name     string
		messages []string
		want     []string // the count and the first frame of each
	}{
		{"nothing", nil, nil},
		{"no answer", []string{"", "{", "[]", `{"result":7}`, `{"result":{"result":{"value":"no list"}}}`}, nil},
		{"what keeps it alive", []string{`{"result":{}}`, alive}, []string{"2 Timeout", "1 TCPSocketWrap"}},
		{"in a timer", []string{
			alive, `{"method":"Debugger.scriptParsed","params":{"scriptId":"1","url":"node:internal/timers"}}`,
			`{"method":"Debugger.paused","params":{"callFrames":[{"functionName":"f","location":{"scriptId":"1","lineNumber":0}}]}}`,
		}, []string{"2 Timeout", "1 TCPSocketWrap"}},
		{"in the program", []string{
			alive, `{"method":"Debugger.scriptParsed","params":{"scriptId":"2","url":"file:///a%20b.js"}}`,
			`{"method":"Debugger.paused","params":{"callFrames":[{"functionName":"","location":{"scriptId":"2","lineNumber":6}}]}}`, "not read",
		}, []string{"1 (anonymous) /a b.js:7", "2 Timeout", "1 TCPSocketWrap"}},
		{"paused nowhere", []string{`{"method":"Debugger.paused"}`}, nil},
	} {
		var frames strings.Builder
		for _, text := range c.messages {
			frames.WriteString("\x81\x7e") // the length is in the next two bytes
			_ = binary.Write(&frames, binary.BigEndian, uint16(len(text)))
			frames.WriteString(text)
		}
		var got []string
		for _, s := range inspection(bufio.NewReader(strings.NewReader(frames.String()))) {
			got = append(got, fmt.Sprint(s.Count, " ", s.Frames[0]))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
