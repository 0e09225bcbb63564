package test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lastcall-go/lastcall/task"
)

// post sends a body to a server, and returns the status and the body of the answer.
func (s *server) post(path, media, body string) (status int, answer string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", media)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }() // read to its end
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func writeFile(t *testing.T, path, text string, mode os.FileMode) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestInput_APayloadOfMoreThanAMiBIsRefusedAndOneOfAMiBIsKept(t *testing.T) {
	t.Parallel()
	work := t.TempDir()
	store := "sqlite:" + filepath.Join(work, "tasks.db")
	s := start(t, store)
	line := func(n int) string { return `{"kind": "k", "payload": "` + strings.Repeat("x", n-2) + `"}` }
	const want = "bytes, at most 1048576 are kept: put it into a file and"
	if status, answer := s.post("/v1/tasks", "application/json", line(task.MaxPayload+1)); status != http.StatusRequestEntityTooLarge || !strings.Contains(answer, want) {
		t.Errorf("%d %s", status, answer)
	}
	if status, answer := s.post("/v1/tasks", "application/json", line(2*task.MaxPayload)); status != http.StatusRequestEntityTooLarge || !strings.Contains(answer, "the body has more than") {
		t.Errorf("%d %s", status, answer)
	}
	lines := writeFile(t, filepath.Join(work, "lines"), line(task.MaxPayload)+"\n"+line(task.MaxPayload+1)+"\n"+line(9)+"\n", 0o600)
	for _, place := range [][]string{{"--server", s.url}, {"--store", store}} {
		code, out := fails(t, append([]string{"submit", "--many", lines}, place...)...)
		if code != 1 || !bytes.Contains(out, []byte("line 2: ")) || !bytes.Contains(out, []byte(want)) || !bytes.Contains(out, []byte("(1 tasks are submitted, their ids are printed)")) {
			t.Errorf("%v: %d\n%s", place, code, out)
		}
	}
	if out := command(t, "list", "--store", store); bytes.Count(out, []byte("queued")) != 2 {
		t.Errorf("list:\n%s", out)
	}
	stop(s)
}

func TestInput_WhatIsNoJSONIsRefusedAndABadLineOfABatchHoldsBackNoOther(t *testing.T) {
	t.Parallel()
	store := "sqlite:" + filepath.Join(t.TempDir(), "tasks.db")
	s := start(t, store)
	for _, payload := range []string{"{dir: 1}", "", `{"a": 1} x`, `{"a": `, "\xff"} {
		if code, out := fails(t, "submit", "--server", s.url, "k", payload); code != 1 || !bytes.Contains(out, []byte("the payload is not")) {
			t.Errorf("%q: %d %s", payload, code, out)
		}
		if status, answer := s.post("/v1/tasks", "application/json", `{"kind": "k", "payload": `+payload+"}"); status != http.StatusBadRequest {
			t.Errorf("%q: %d %s", payload, status, answer)
		}
	}
	if status, answer := s.post("/v1/tasks", "application/json", "payload"); status != http.StatusBadRequest || !strings.Contains(answer, "it is not understood") {
		t.Errorf("%d %s", status, answer)
	}
	batch := `{"kind": "k", "payload": 1}` + "\nnonsense\n" + `{"kind": "k", "payload": 2}` + "\n"
	if status, answer := s.post("/v1/tasks/batch", "application/x-ndjson", batch); status != http.StatusOK || strings.Count(answer, `"id":`) != 2 || !strings.Contains(answer, `{"line":2,"problem":`) {
		t.Errorf("%d %s", status, answer)
	}
	if out := command(t, "list", "--store", store); bytes.Count(out, []byte("queued")) != 2 {
		t.Errorf("list:\n%s", out)
	}
	stop(s)
}

func TestConfig_ADurationThatCannotBeIsRefusedWhereverItStands(t *testing.T) {
	t.Parallel()
	work := t.TempDir()
	s := start(t, "sqlite:"+filepath.Join(work, "tasks.db"))
	for text, want := range map[string]string{
		"-5s":                "negative",
		"99999999999999999h": "more than",
		"9999999h":           "more than",
		"30":                 "it has no unit: use 30s",
		"soon":               "it is no duration: use a number with its unit",
	} {
		config := writeFile(t, filepath.Join(work, "config.yaml"), "version: 1\nstore: sqlite:x\ngrace: "+text+"\n", 0o600)
		for _, c := range []struct {
			code int
			args []string
			want string
		}{
			{1, []string{"submit", "--server", s.url, "--delay", text, "k", "1"}, want},
			{2, []string{"serve", "--store", "sqlite:" + work + "/x.db", "--grace", text}, want},
			{2, []string{"healthcheck", "--timeout", text}, want},
			{1, []string{"config", "check", config}, "config.yaml:3: "},
			{1, []string{"serve", "--config", config, "--listen", "127.0.0.1:0"}, "config.yaml:3: "},
		} {
			if text == "-5s" && c.args[0] == "serve" && c.code == 1 {
				c.want = "grace is -5s: use a positive duration" // the flags may be the source
			}
			if code, out := fails(t, c.args...); code != c.code || !bytes.Contains(out, []byte(c.want)) {
				t.Errorf("lastcall %q: exit code %d, want %d with %q:\n%s", c.args, code, c.code, c.want, out)
			}
		}
		body := fmt.Sprintf(`{"kind": "k", "payload": 1, "delay": %q}`, text)
		if status, answer := s.post("/v1/tasks", "application/json", body); status != http.StatusBadRequest || !strings.Contains(answer, "delay") {
			t.Errorf("%s: %d %s", body, status, answer)
		}
	}
	if out := command(t, "list", "--server", s.url); bytes.Contains(out, []byte("queued")) {
		t.Errorf("list:\n%s", out)
	}
	stop(s)
}

func TestConfig_ATypingMistakeInTheConfigurationIsToldWithItsLineByCheckAndServe(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"version: 1\nkind:\n  a: {exec: [/bin/true]}\n":                             ":2: unknown key kind: do you mean kinds?",
		"version: 1\nkinds:\n  a:\n    exce: [/bin/true]\n":                         ":4: unknown key exce: do you mean exec?",
		"version: 1\nkinds:\n\ta: {exec: [/bin/true]}\n":                            ":3: found character that cannot start any token: write spaces instead of tabs",
		"version: 1\nkinds:\n  a: {exec: [/bin/true]\n":                             ":2: did not find expected",
		"version: 1\nkinds:\n  a: {exec: /bin/true}\n":                              ":3: /bin/true is no list: write",
		"version: 1\nkinds:\n  a: {exec: [/bin/true]}\n  a: {exec: [/bin/false]}\n": ":4: key a is there twice, first in line 3",
		"version: 2\n": ":1: version is 2, this program reads version 1",
	} {
		config := writeFile(t, filepath.Join(t.TempDir(), "lastcall.yaml"), text, 0o600)
		for _, args := range [][]string{{"config", "check", config}, {"serve", "--config", config, "--store", "sqlite:x.db", "--listen", "127.0.0.1:0"}} {
			if code, out := fails(t, args...); code != 1 || !bytes.Contains(out, []byte("lastcall.yaml"+want)) {
				t.Errorf("%q, lastcall %q: exit code %d, want 1 with %q:\n%s", text, args, code, want, out)
			}
		}
	}
}

func TestTokens_ATokenFileThatOthersCanReadStartsNoServer(t *testing.T) {
	t.Parallel()
	const secret = "0123456789abcdefghijklmnopq"
	file := filepath.Join(t.TempDir(), "tokens")
	writeFile(t, file, "ops read "+secret+"\n", 0o600)
	if err := os.Chmod(file, 0o644); err != nil { //nolint:gosec // this is the mistake
		t.Fatal(err)
	}
	config := writeFile(t, filepath.Join(t.TempDir(), "lastcall.yaml"), "version: 1\ntokenFile: "+file+"\n", 0o600)
	for _, args := range [][]string{{"serve", "--store", "sqlite:x.db", "--listen", "127.0.0.1:0", "--token-file", file}, {"config", "check", config}} {
		code, out := fails(t, args...)
		if code != 1 || !bytes.Contains(out, []byte("run chmod 600 "+file)) || bytes.Contains(out, []byte(secret)) {
			t.Errorf("lastcall %q: %d\n%s", args, code, out)
		}
	}
}

func TestSecrets_NoCommandPrintsThePasswordOfAStoreOrAServerHoweverItIsWritten(t *testing.T) {
	t.Parallel()
	const secret = "s3cr3t"
	said := func(args ...string) {
		t.Helper()
		code, out := fails(t, args...)
		if code == 0 || len(out) == 0 || bytes.Contains(out, []byte(secret)) {
			t.Errorf("lastcall %q: exit code %d\n%s", args, code, out)
		}
	}
	for _, address := range []string{
		"postgres://u:" + secret + "@127.0.0.1:1/db",                       // nobody listens there
		"postgres://u:" + secret + "@127.0.0.1:99999/db",                   // no such port
		"postgres://u:" + secret + "@127.0.0.1:port/db",                    // no number
		"postgres://u:" + secret + "/x@127.0.0.1:5/db",                     // a character that must be written as %2F
		"postgres://u:" + secret + "%zz@127.0.0.1/db",                      // a bad escape
		"postgres://u:" + secret + "@[::1/db",                              // a bracket is missing
		"postgresql:u:" + secret + "@h/db",                                 // slashes are missing
		"postgress://u:" + secret + "@h/db",                                // a mistyped scheme
		"postgres://u@127.0.0.1:1/db?connect_timeout=x&password=" + secret, // as a parameter
		"host=127.0.0.1 port=1 user=u password=" + secret,                  // in keywords
		"password='" + secret,                                              // a quote is missing
		secret,                                                             // the password alone
	} {
		said("list", "--store", address)
		said("serve", "--store-wait", "1s", "--listen", "127.0.0.1:0", "--store-file", writeFile(t, filepath.Join(t.TempDir(), "store"), address+"\n", 0o600))
	}
	said("doctor", "--store", "postgres://u:"+secret+"@127.0.0.1:port/db")
	said("migrate", "status", "--store", "host=127.0.0.1 port=x password="+secret)
	for _, server := range []string{"http://u:" + secret + "@127.0.0.1:1", "http://u:" + secret + "@127.0.0.1:port", "u:" + secret + "@h:1", "http://u:" + secret + "%zz@h"} {
		said("list", "--server", server)
		said("healthcheck", "--server", server)
	}
}
