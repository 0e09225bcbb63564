//go:build linux

package attack

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// escape would set a terminal's title and print in red.
const escape = `\u001b]0;EVIL\u0007\u001b[31m\u202e`

func TestHTTP_WhatAServerSaysMovesNoTerminal(t *testing.T) {
	t.Parallel()
	c := newCage(t)
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		const task = `"id":"01a228e1` + escape + `","kind":"k` + escape + `","queue":"q` + escape + `","status":"running` + escape + `","error":"e` + escape + `","worker":"w` + escape + `"`
		switch {
		case r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/tasks"):
			w.WriteHeader(http.StatusCreated)
			fmt.Fprint(w, `{"id":"01a228e1`+escape+`","outcome":"added","waitsFor":"x`+escape+`"}`)
		case r.Method == http.MethodPost:
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"title":"t`+escape+`","detail":"d`+escape+`","status":400}`)
		case r.URL.Path == "/v1/tasks":
			fmt.Fprint(w, `{"tasks":[{`+task+`}]}`)
		case r.URL.Path == "/v1/workers":
			fmt.Fprint(w, `{"workers":[{"id":"w`+escape+`","host":"h`+escape+`","state":"running`+escape+`"}]}`)
		case r.URL.Path == "/v1/queues":
			fmt.Fprint(w, `{"queues":[{"queue":"q`+escape+`","paused":true}]}`)
		case strings.HasSuffix(r.URL.Path, "/log"):
			w.Header().Set("Content-Type", "text/plain")
			fmt.Fprint(w, "log \x1b]0;EVIL\x07\x1b[31m")
		default:
			fmt.Fprint(w, `{`+task+`,"history":[{"run":1,`+task+`}]}`)
		}
	}))
	defer evil.Close()
	const id = "01a228e1-1632-700f-a8fc-4d4c486a6426"
	for _, args := range [][]string{
		{"list"}, {"show", id}, {"logs", id}, {"workers"}, {"submit", "k", "{}"}, {"cancel", id}, {"retry", id}, {"pause", "q"},
	} {
		got := c.onTerminal(append(args[:1:1], append([]string{"--server", evil.URL}, args[1:]...)...)...)
		for _, bad := range []string{"\x1b]", "\x07", "\u202e"} {
			if strings.Contains(got, bad) {
				t.Errorf("%s prints %q on a terminal: %.300q", args[0], bad, got)
				break
			}
		}
		if !strings.Contains(got, "EVIL") && args[0] == "list" {
			t.Errorf("%s does not show what the server said: %.300q", args[0], got)
		}
	}
}

// onTerminal runs a command of the program with a terminal as all three of its streams, and returns
// what it printed.
func (c *cage) onTerminal(args ...string) string {
	c.t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		c.t.Skipf("no terminal: %v", err)
	}
	defer func() { _ = master.Close() }() // read
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	terminal, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		c.t.Fatal(err)
	}
	cmd := c.command([]string{"TERM=xterm"}, lastcall(c.t), args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = terminal, terminal, terminal
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	printed := make(chan string)
	go func() {
		var all strings.Builder
		buffer := make([]byte, 4096)
		for {
			n, err := master.Read(buffer)
			all.Write(buffer[:n])
			if err != nil { // EIO: no process has the terminal any more
				printed <- all.String()
				return
			}
		}
	}()
	time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() }) // logs may wait
	_ = cmd.Wait()                                                    // only what it printed matters
	_ = terminal.Close()
	return <-printed
}
