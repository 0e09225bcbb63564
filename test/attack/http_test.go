//go:build linux

package attack

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// guarded starts a server with tokens and without the demo kinds.
func (c *cage) guarded(args ...string) *server {
	c.t.Helper()
	return c.serve(append([]string{"--token-file", c.tokens(), "--config", c.hostileKinds()}, args...)...)
}

// plain starts a server that is open to everybody on this machine.
func (c *cage) plain(args ...string) *server {
	c.t.Helper()
	return c.serve(append([]string{"--config", c.hostileKinds()}, args...)...)
}

func TestHTTP_AHundredThousandKindsFillNeitherAnswersNorMemory(t *testing.T) {
	t.Parallel()
	lanes := 100_000
	if testing.Short() {
		t.Log("make test-full: a hundred thousand kinds and queues instead of fifteen thousand")
		lanes = 15_000
	}
	s := newCage(t).plain()
	for first := 0; first < lanes; first += 5000 {
		var batch strings.Builder
		for n := first; n < first+5000; n++ {
			name := fmt.Sprintf("%085d", n)
			fmt.Fprintf(&batch, `{"kind":"k%[1]s","queue":"q%[1]s","payload":{}}`+"\n", name)
		}
		status, answer := s.askAs(http.MethodPost, "/v1/tasks/batch", http.Header{"Content-Type": {"application/x-ndjson"}}, batch.String())
		if status >= 500 || status == 0 {
			t.Fatalf("a batch is answered %d %.200s", status, answer)
		}
	}
	stream := s.cage.command(nil, "/usr/bin/timeout", "20", "/usr/bin/python3", "-c",
		"import sys,urllib.request\nfor l in urllib.request.urlopen(sys.argv[1]): pass", s.url+"/v1/events")
	if err := stream.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = stream.Process.Kill()
		_ = stream.Wait()
	}()
	for range 5 {
		for _, path := range []string{"/metrics", "/v1/counts", "/v1/queues"} {
			status, answer := s.ask(http.MethodGet, path, "", "")
			if status != http.StatusOK || len(answer) > 1<<20 {
				t.Errorf("%s: %d with %d bytes", path, status, len(answer))
			}
		}
		s.ask(http.MethodPost, "/v1/tasks", "", `{"kind":"k","payload":{}}`) // this changes the counts
		if t.Failed() {
			break
		}
	}
	status := read(t, fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	for line := range strings.Lines(status) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			if kib, err := strconv.Atoi(strings.Fields(rest)[0]); err != nil || kib > 100<<10 {
				t.Errorf("the server has needed %d KiB (%v)", kib, err)
			}
		}
	}
}

func TestHTTP_ATokenFileThatBlocksHoldsUpNoRequestAndNoStop(t *testing.T) {
	t.Parallel()
	c := newCage(t)
	s := c.guarded("--grace", "5s")
	file := filepath.Join(c.dir, "tokens")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Fatal(err)
	}
	c.own(file)
	for range 3 {
		if status, answer := s.ask(http.MethodGet, "/v1/counts", adminSecret, ""); status != http.StatusOK {
			t.Errorf("a request is answered %d %s", status, answer)
		}
		time.Sleep(500 * time.Millisecond) // time for the server to read the file again
	}
	if code := s.stop(5 * time.Second); code != 0 {
		t.Errorf("the stop's exit code is %d", code)
	}
}

func TestHTTP_ATokenFileThatIsHalfWrittenGivesNoShorterToken(t *testing.T) {
	t.Parallel()
	c := newCage(t)
	s := c.guarded()
	file := filepath.Join(c.dir, "tokens")
	half := strings.Repeat("R", 30)
	// The second half is still missing.
	put(t, file, "admin read,submit,operate "+adminSecret+"\nrd read "+half, 0o600)
	by := time.Now().Add(4 * time.Second)
	if poll(by, func() bool {
		status, _ := s.ask(http.MethodGet, "/v1/counts", half, "")
		return status == http.StatusOK
	}) {
		t.Error("the first half of a secret is taken for a secret")
	}
	put(t, file, read(t, file)+"RRRR\n", 0o600)
	until(t, "the whole file counts", func() bool {
		status, _ := s.ask(http.MethodGet, "/v1/counts", half+"RRRR", "")
		return status == http.StatusOK
	})
}

func TestHTTP_AnErrorOfTheStoreTellsNoPathAndNoAddress(t *testing.T) {
	t.Parallel()
	c := newCage(t)
	s := c.guarded()
	lock := c.command(nil, "/usr/bin/python3", "-c",
		"import sqlite3,sys,time\nd=sqlite3.connect(sys.argv[1],isolation_level=None)\nd.execute('begin immediate')\nprint('locked',flush=True)\ntime.sleep(60)", filepath.Join(c.dir, "tasks.db"))
	out, err := lock.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := lock.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = lock.Process.Kill()
		_ = lock.Wait()
	}()
	if _, err := io.ReadFull(out, make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	status, answer := s.ask(http.MethodPost, "/v1/tasks", submitSecret, `{"kind":"k","payload":{}}`)
	if status != http.StatusServiceUnavailable {
		t.Errorf("the answer is %d %s, want 503", status, answer)
	}
	for _, word := range []string{c.dir, "tasks.db", "sqlite"} {
		if strings.Contains(strings.ToLower(answer), word) {
			t.Errorf("the answer has %q: %s", word, answer)
		}
	}
}

func TestHTTP_AnIDOfAnotherTaskIsNotAnsweredAsSuccess(t *testing.T) {
	t.Parallel()
	s := newCage(t).plain()
	const id = "01a228e1-1632-700f-a8fc-000000000001"
	first := fmt.Sprintf(`{"id":%q,"kind":"nothing","payload":{}}`, id)
	if status, answer := s.ask(http.MethodPost, "/v1/tasks", "", first); status != http.StatusCreated {
		t.Fatalf("%d %s", status, answer)
	}
	for _, other := range []string{fmt.Sprintf(`{"id":%q,"kind":"order","payload":{}}`, id), fmt.Sprintf(`{"id":%q,"kind":"nothing","payload":{"n":1}}`, id)} {
		if status, answer := s.ask(http.MethodPost, "/v1/tasks", "", other); status != http.StatusConflict {
			t.Errorf("%s is answered %d %s", other, status, answer)
		}
	}
	if status, answer := s.ask(http.MethodPost, "/v1/tasks", "", first); status != http.StatusOK {
		t.Errorf("the same submit again is answered %d %s", status, answer)
	}
}

func TestHTTP_ARequestWithoutATokenHoldsUpNoStopAndForgesNoLine(t *testing.T) {
	t.Parallel()
	s := newCage(t).guarded("--grace", "8s")
	for range 5 {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }() //nolint:gocritic // five connections
		_, err = io.WriteString(conn, "POST /v1/tasks%0Aabandoned%20go%20forged%1b[31m HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{")
		if err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(500 * time.Millisecond) // the requests have been read
	if code := s.stop(2 * time.Second); code != 0 {
		t.Errorf("the stop's exit code is %d", code)
	}
	if said := s.said(); strings.Contains(said, "\nabandoned go forged") || strings.ContainsRune(said, '\x1b') {
		t.Errorf("a request has written a line of its own:\n%s", said)
	}
}

func TestHTTP_TheProbeListenerOnLoopbackAnswersNoForeignName(t *testing.T) {
	t.Parallel()
	probe := httptest.NewServer(nil) // a free port
	address := probe.Listener.Addr().String()
	probe.Close()
	s := newCage(t).guarded("--probe-listen", address)
	s.url = "http://" + address
	until(t, "the probe answers", func() bool { status, _ := s.ask(http.MethodGet, "/healthz", "", ""); return status == http.StatusOK })
	for _, host := range []string{"evil.com", "127.0.0.1.evil.com"} {
		if status, answer := s.askAs(http.MethodGet, "/metrics", http.Header{"Host": {host}}, ""); status == http.StatusOK {
			t.Errorf("%s is answered %d %.100s", host, status, answer)
		}
	}
}

func TestHTTP_ChosenIDsNeitherHeadListsNorHideLaterTasks(t *testing.T) {
	t.Parallel()
	c := newCage(t)
	s := c.plain()
	other := c.plain() // its events are those that it finds in the store
	for n := range 60 {
		s.ask(http.MethodPost, "/v1/tasks", "", fmt.Sprintf(`{"id":"ffffffff-ffff-7fff-bfff-%012x","kind":"k","payload":{}}`, n))
	}
	events := filepath.Join(c.rest, "events")
	stream := c.command(nil, "/usr/bin/timeout", "60", "/usr/bin/python3", "-u", "-c",
		"import sys,urllib.request\nfor l in urllib.request.urlopen(sys.argv[1]): sys.stdout.buffer.write(l)", other.url+"/v1/events")
	out, err := os.Create(events)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }() // the stream's
	stream.Stdout = out
	if err := stream.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = stream.Process.Kill()
		_ = stream.Wait()
	}()
	until(t, "the stream has begun", func() bool { return strings.Contains(read(t, events), "event: reset") })
	id := s.submit("later", "{}", "")
	if !poll(within(5*time.Second), func() bool { return strings.Contains(read(t, events), id) }) {
		t.Errorf("no event reports a task that was submitted after those")
	}
	_, answer := s.ask(http.MethodGet, "/v1/tasks?limit=1", "", "")
	var page struct{ Tasks []struct{ ID string } }
	if err := json.Unmarshal([]byte(answer), &page); err != nil || len(page.Tasks) != 1 || page.Tasks[0].ID != id {
		t.Errorf("the newest task is %s (%v), want %s", answer, err, id)
	}
}
