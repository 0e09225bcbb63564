//go:build linux

package attack

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// seed returns a generator that repeats the same mutations for the same seed.
func seed(t *testing.T) *rand.Rand {
	t.Helper()
	n := rand.Uint64()
	t.Logf("the seed is %d", n)
	return rand.New(rand.NewPCG(n, n))
}

// pieces are inserted into texts: characters with a meaning, and values that are too large, too
// deep or not text at all.
var pieces = []string{
	"\x00", "\xff\xfe", "\r\n", "\n", "\"", "\\", "{", "}", "[", "]", ":", ",", "%00", "%2f", "..", "//", "?", "#", "&", "=", "-1",
	"1e999", "99999999999999999999", "null", "true", "\u202e", "\x1b[31m", "*a", "&a ", "<<: ", "!!binary ", "- ", "  ", "\t", "|\n",
	strings.Repeat("[", 500), strings.Repeat("a", 5000), "Transfer-Encoding: chunked\r\n", "Content-Length: 5\r\n", "Host: evil\r\n",
	"Expect: 100-continue\r\n", "0\r\n\r\n",
}

// mutate changes a text in one to four places.
func mutate(rng *rand.Rand, text string) string {
	b := []byte(text)
	for range 1 + rng.IntN(4) {
		if len(b) == 0 {
			return string(b)
		}
		from := rng.IntN(len(b))
		to := min(len(b), from+rng.IntN(12))
		var in []byte
		switch rng.IntN(4) {
		case 0: // remove
		case 1:
			in = []byte(pieces[rng.IntN(len(pieces))])
		case 2:
			in = bytes.Repeat(b[from:to], 2)
		case 3:
			in = []byte{byte(rng.IntN(256))}
		}
		b = append(b[:from:from], append(in, b[to:]...)...)
	}
	return string(b)
}

func TestMutation_NoRequestMakesTheServerPanicFailOrHang(t *testing.T) {
	t.Parallel()
	requests := 97_000
	if testing.Short() {
		t.Log("make test-full: 97,000 mutated requests instead of 2,000")
		requests = 2000
	}
	rng := seed(t)
	s := newCage(t).guarded("--grace", "5s")
	id := s.submit("nobody-knows-it", "{}", submitSecret)
	body := `{"id":"01a228e1-1632-700f-a8fc-4d4c486a6426","kind":"k","payload":{"a":[1,2]},"queue":"q","key":"x","priority":5,"delay":"90s"}`
	var whole []string
	for _, line := range []string{
		"POST /v1/tasks", "POST /v1/tasks/batch", "GET /v1/tasks?status=queued&kind=k&limit=5&after=" + id, "GET /v1/tasks/" + id, "GET /v1/tasks/" + id + "/log",
		"POST /v1/tasks/" + id + "/cancel", "POST /v1/tasks/" + id + "/retry", "GET /v1/queues", "POST /v1/queues/q/pause", "GET /v1/workers",
		"GET /v1/counts", "GET /healthz", "GET /readyz", "GET /metrics", "GET /v1/openapi.json",
	} {
		header := " HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer " + adminSecret + "\r\n"
		switch {
		case strings.HasSuffix(line, "/batch"):
			whole = append(whole, line+header+fmt.Sprintf("Content-Type: application/x-ndjson\r\nContent-Length: %d\r\n\r\n%s\n%s\n", 2*len(body)+2, body, body))
		case line == "POST /v1/tasks":
			whole = append(whole, line+header+fmt.Sprintf("Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
		default:
			whole = append(whole, line+header+"Content-Type: application/json\r\nContent-Length: 0\r\n\r\n")
		}
	}
	for n := range requests {
		request := mutate(rng, whole[rng.IntN(len(whole))])
		if status := s.raw(request); status >= 500 && status != http.StatusNotImplemented && status != http.StatusHTTPVersionNotSupported {
			t.Errorf("request %d is answered %d: %q", n, status, request)
		}
		if ended(s.done) || t.Failed() {
			break
		}
	}
	if status, _ := s.ask(http.MethodGet, "/v1/counts", adminSecret, ""); status != http.StatusOK {
		t.Errorf("after that a request is answered %d", status)
	}
	s.neverPanicked()
	if code := s.stop(5 * time.Second); code != 0 {
		t.Errorf("the stop's exit code is %d", code)
	}
}

// raw sends a request as it is and returns the status of the answer, or 0 for none. If the server
// waits for more, raw closes its side for writing and returns 0: an answer after that proves
// nothing, since to the server the client seems gone.
func (s *server) raw(request string) int {
	s.t.Helper()
	conn, err := net.DialTimeout("tcp", strings.TrimPrefix(s.url, "http://"), 10*time.Second)
	if err != nil {
		s.t.Errorf("%v\n%s", err, s.said())
		return 0
	}
	defer func() { _ = conn.Close() }()  // the answer was read
	_, _ = io.WriteString(conn, request) // the server may refuse it before its end
	answer := bufio.NewReader(conn)
	_ = conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	if _, err := answer.Peek(1); os.IsTimeout(err) {
		_ = conn.(*net.TCPConn).CloseWrite()
		_ = conn.SetReadDeadline(time.Now().Add(15 * time.Second))
		if _, err := io.Copy(io.Discard, conn); os.IsTimeout(err) {
			s.t.Errorf("no answer and no end within 15 s: %q", request)
		}
		return 0
	}
	_ = conn.SetReadDeadline(time.Now().Add(15 * time.Second))
	resp, err := http.ReadResponse(answer, nil)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// panicked matches what a panic prints, including one that net/http has recovered.
var panicked = regexp.MustCompile(`panic|goroutine \d+ \[`)

func (s *server) neverPanicked() {
	s.t.Helper()
	said := s.said()
	if at := panicked.FindStringIndex(said); at != nil {
		s.t.Errorf("the server has panicked:\n%.2000s", said[max(0, at[0]-200):])
	}
}

func TestMutation_NoConfigurationMakesTheCheckPanicOrHang(t *testing.T) {
	t.Parallel()
	files := 5000
	if testing.Short() {
		t.Log("make test-full: 5,000 mutated configuration files instead of 50")
		files = 50
	}
	rng := seed(t)
	c := newCage(t)
	dir := filepath.Join(c.dir, "configs")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	whole := read(t, "../../cmd/lastcall/lastcall.example.yaml")
	for n := range files {
		put(t, filepath.Join(dir, fmt.Sprintf("%d.yaml", n)), mutate(rng, whole), 0o644)
	}
	_, out := c.sh(fmt.Sprintf(`for f in %s/*.yaml; do
  said=$(timeout 20 %s config check "$f" 2>&1); code=$?
  case "$said" in *panic:*|*goroutine\ *) code=panic;; esac
  case $code in 0|1) ;; *) echo "$f ends with $code: $said";; esac
done`, dir, lastcall(t)))
	if out != "" {
		t.Errorf("%.3000s", out)
	}
}

func TestMutation_NoTokenFileMakesTheServerPanicFailOrHang(t *testing.T) {
	t.Parallel()
	files := 5000
	if testing.Short() {
		t.Log("make test-full: 5,000 mutated token files instead of 200")
		files = 200
	}
	rng := seed(t)
	c := newCage(t)
	s := c.guarded()
	file := filepath.Join(c.dir, "tokens")
	whole := read(t, file)
	for n := range files {
		text := mutate(rng, whole)
		put(t, file, text, 0o600)
		if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{adminSecret, forgedSecret} {
			status, answer := s.ask(http.MethodGet, "/v1/counts", secret, "")
			if status != http.StatusOK && status != http.StatusUnauthorized && status != http.StatusForbidden || status == http.StatusOK && secret == forgedSecret {
				t.Fatalf("file %d, %q: a request is answered %d %s", n, text, status, answer)
			}
		}
	}
	s.neverPanicked()
}
