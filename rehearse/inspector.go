package rehearse

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// inspectorAt is what Node.js writes when SIGUSR1 has opened its inspector.
var inspectorAt = regexp.MustCompile(`(?m)^Debugger listening on (ws://\S+)$`)

// inspections are the requests to the inspector. A pause takes effect when JavaScript runs the next
// time, which is never in a program that only waits.
var inspections = []string{
	`{"id":1,"method":"Runtime.evaluate","params":{"expression":"process.getActiveResourcesInfo()","returnByValue":true}}`,
	`{"id":2,"method":"Debugger.enable"}`,
	`{"id":3,"method":"Debugger.pause"}`,
}

// inspected is a message of the inspector: an answer or an event.
type inspected struct {
	Method string
	Result struct {
		Result struct{ Value []string }
	}
	Params struct {
		ScriptID, URL string // of a script that was loaded
		CallFrames    []struct {
			FunctionName string
			Location     struct {
				ScriptID   string
				LineNumber int // from 0 on
			}
		}
	}
}

// inspect asks the inspector of a Node.js program, whose address is in the text, which resources
// keep its event loop alive and where its JavaScript is. It returns nil if the inspector is not
// open: the program handles the signal itself, or another process has the port.
func (p *program) inspect(ctx context.Context, text string) []Stack {
	at := inspectorAt.FindStringSubmatch(text)
	if at == nil {
		return nil
	}
	to, err := newTarget(Target{URL: at[1]}, false)
	if err != nil || !p.listensAt(to.url.Port()) {
		return nil // the program has written that, and not its runtime
	}
	ctx, cancel := context.WithTimeout(ctx, dumpPatience)
	defer cancel()
	w, err := (&traffic{ctx: ctx}).dial(to)
	if err != nil {
		return nil
	}
	defer w.close()
	w.begin(dumpPatience)
	if err := w.upgrade(ctx, to); err != nil {
		return nil
	}
	for _, request := range inspections {
		if err := w.writeFrame(opText, []byte(request)); err != nil {
			return nil
		}
	}
	return inspection(bufio.NewReader(io.LimitReader(w.in, maxDump)))
}

// listensAt reports whether the program listens at a port.
func (p *program) listensAt(port string) bool {
	return slices.ContainsFunc(listening(p.pids()), func(a netip.AddrPort) bool { return strconv.Itoa(int(a.Port())) == port })
}

// inspection reads the answers to the requests until the program is paused, or no more arrive.
func inspection(in *bufio.Reader) []Stack {
	var running, alive []Stack
	scripts := map[string]string{} // the place of each, by its id
	for paused := false; !paused; {
		text, err := readMessage(in)
		if err != nil {
			break // such as a deadline: nothing runs
		}
		var m inspected
		if err := json.Unmarshal(text, &m); err != nil {
			continue // an answer of another form
		}
		for _, resource := range m.Result.Result.Value {
			alive = append(alive, Stack{Count: 1, State: "keeps the event loop alive", Frames: []string{resource}})
		}
		switch m.Method {
		case "Debugger.scriptParsed":
			scripts[m.Params.ScriptID] = place(m.Params.URL)
		case "Debugger.paused":
			paused = true
			if s := m.stack(scripts); withoutLeading(&s, ofNode) { // and not one of Node's timers
				running = append(running, s)
			}
		}
	}
	return append(running, grouped(alive, ofNode)...)
}

// stack is where a program is paused.
func (m *inspected) stack(scripts map[string]string) Stack {
	s := Stack{Count: 1, State: "running"}
	for _, f := range m.Params.CallFrames {
		s.Frames = append(s.Frames, fmt.Sprintf("%s %s:%d", cmp.Or(f.FunctionName, "(anonymous)"), scripts[f.Location.ScriptID], f.Location.LineNumber+1))
	}
	return s
}

// place is the file of a script, or its address if it is not in a file.
func place(address string) string {
	if u, err := url.Parse(address); err == nil && u.Scheme == "file" {
		return u.Path
	}
	return address
}

// ofNode reports whether a frame is in a library of Node.js.
func ofNode(frame string) bool { return strings.Contains(frame, " node:") }

// readMessage reads a frame with its payload.
func readMessage(in *bufio.Reader) ([]byte, error) {
	_, length, err := readHead(in)
	if err != nil {
		return nil, err
	}
	if length > maxDump {
		return nil, fmt.Errorf("a message of %d bytes", length)
	}
	payload := make([]byte, length)
	_, err = io.ReadFull(in, payload)
	return payload, err
}
