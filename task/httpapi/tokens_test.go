package httpapi

import (
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	readSecret    = strings.Repeat("r", minSecret)
	submitSecret  = strings.Repeat("s", minSecret)
	operateSecret = strings.Repeat("o", minSecret)
)

func tokenFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	settle(t, path)
	return path
}

// settle makes a file look as if it had been written a while ago.
func settle(t *testing.T, path string) {
	t.Helper()
	before := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, before, before); err != nil {
		t.Fatal(err)
	}
}

func openTokens(t *testing.T, text string) *Tokens {
	t.Helper()
	tokens, err := LoadTokens(tokenFile(t, text), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

func bearer(secret string) func(*http.Request) { return set("Authorization", "Bearer "+secret) }

func TestTokens_ATokenMayDoWhatItsRolesSayAndNothingElse(t *testing.T) {
	s := serve(t, Config{Tokens: openTokens(t, "# who may\n\nreader read "+readSecret+"\n\tsubmitter\tsubmit\t"+submitSecret+"\r\noperator operate "+operateSecret)})
	secrets := map[Role]string{RoleRead: readSecret, RoleSubmit: submitSecret, RoleOperate: operateSecret}
	for _, rt := range s.handler.table() {
		target := strings.NewReplacer("{id}", someID, "{queue}", "q").Replace(rt.path)
		if rt.path == "/v1/events" {
			rt.method = "HEAD"
		}
		for role, secret := range secrets {
			t.Run(fmt.Sprintf("%s %s with %s", rt.method, rt.path, role), func(t *testing.T) {
				s := *s
				s.t = t
				r := s.ask(rt.method, target, "", bearer(secret))
				switch {
				case rt.role == "" || rt.role == role:
					if r.status == http.StatusUnauthorized || r.status == http.StatusForbidden {
						t.Errorf("refused: %d %s", r.status, r.body)
					}
				default:
					if r.header.Get("WWW-Authenticate") != `Bearer realm="lastcall", error="insufficient_scope"` {
						t.Errorf("%d %v", r.status, r.header)
					}
					if rt.method != "HEAD" {
						s.refused(r, "forbidden", "lacks the role "+string(rt.role))
					} else if r.status != http.StatusForbidden {
						t.Errorf("%d", r.status)
					}
				}
			})
		}
	}
	if log := s.log.String(); !strings.Contains(log, "by=operator") {
		t.Errorf("the log does not say who paused a queue:\n%s", log)
	}
}

func TestTokens_WithoutAGoodTokenNothingIsToldAndTheSecretIsNowhere(t *testing.T) {
	s := serve(t, Config{Tokens: openTokens(t, "reader read "+readSecret)})
	for _, c := range []struct{ header, challenge, says string }{
		{"", `Bearer realm="lastcall"`, "Authorization: Bearer SECRET"},
		{"Basic " + readSecret, `Bearer realm="lastcall"`, "Authorization: Bearer SECRET"},
		{"Bearer", `Bearer realm="lastcall", error="invalid_token"`, "no longer in the server's token file"},
		{"Bearer " + readSecret + "r", `Bearer realm="lastcall", error="invalid_token"`, "mistyped"},
		{"Bearer " + readSecret[1:], `Bearer realm="lastcall", error="invalid_token"`, "mistyped"},
	} {
		r := s.ask("GET", "/v1/tasks", "", set("Authorization", c.header))
		s.refused(r, "unauthorized", c.says)
		if got := r.header.Get("WWW-Authenticate"); got != c.challenge {
			t.Errorf("%q: %s", c.header, got)
		}
		if strings.Contains(r.body, "rrrr") {
			t.Errorf("the answer has the secret: %s", r.body)
		}
	}
	if r := s.ask("GET", "/v1/tasks", "", set("Authorization", "bearer  "+readSecret)); r.status != http.StatusOK {
		t.Errorf("another spelling: %d %s", r.status, r.body)
	}
	if strings.Contains(s.log.String(), "rrrr") {
		t.Errorf("the log has the secret:\n%s", s.log)
	}
}

func TestTokens_AHandlerBesideTheTasksIsReachedWithTheRoleAndRefusedAsTheyAre(t *testing.T) {
	s := serve(t, Config{Tokens: openTokens(t, "reader read "+readSecret+"\nsubmitter submit "+submitSecret)})
	beside := s.handler.tokens.Require(RoleRead, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		plain(w, http.StatusOK, "numbers")
	}))
	for name, change := range map[string]func(*http.Request){
		"no token": func(*http.Request) {}, "an unknown one": bearer(operateSecret), "another role": bearer(submitSecret),
	} {
		want, got := httptest.NewRecorder(), httptest.NewRecorder()
		for path, c := range map[string]struct {
			handler http.Handler
			answer  *httptest.ResponseRecorder
		}{"/v1/counts": {s.handler, want}, "/numbers": {beside, got}} {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost"+path, nil)
			change(r)
			c.handler.ServeHTTP(c.answer, r)
		}
		if want.Code != 401 && want.Code != 403 || got.Code != want.Code || got.Body.String() != want.Body.String() || !maps.EqualFunc(got.Header(), want.Header(), slices.Equal) {
			t.Errorf("%s: %d %v %s\nwant %d %v %s", name, got.Code, got.Header(), got.Body, want.Code, want.Header(), want.Body)
		}
	}
	r, w := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/numbers", nil), httptest.NewRecorder()
	bearer(readSecret)(r)
	if beside.ServeHTTP(w, r); w.Code != http.StatusOK || w.Body.String() != "numbers\n" {
		t.Errorf("with the role: %d %q", w.Code, w.Body)
	}
}

func TestTokens_AMistakeInATokenFileIsToldWithItsLineAndWithoutTheSecret(t *testing.T) {
	for text, want := range map[string]string{
		"none\na read SECRETSECRETSECRETSECRET": "the line none",
		"none of them\n":                        "the second word must be roles",
		"":                                      "it has no token: write lines of NAME ROLE[,ROLE] SECRET",
		"# only this\n":                         "it has no token",
		"\na read\n":                            "line 2: 2 words",
		"a read SECRETSECRETSECRETSECRET x":     "line 1: 4 words",
		"a write SECRETSECRETSECRETSECRET":      "line 1: the second word must be roles",
		"a read, SECRETSECRETSECRETSECRET":      "line 1: the second word must be roles",
		"a read SECRET":                         "at least 24",
		"a read SECRETSECRETSECRETSECRET!":      "at least 24",
		"ä read SECRETSECRETSECRETSECRET":       "ASCII",
		"a read SECRETSECRETSECRETSECRET\na submit SECRETSECRETSECRETSECRETS": "line 2: the name a is there twice",
		"a read SECRETSECRETSECRETSECRET\nb submit SECRETSECRETSECRETSECRET":  "line 2: the secret is another token's too",
		strings.Repeat("# comment\n", maxTokens/10+1):                         "more than",
	} {
		_, err := LoadTokens(tokenFile(t, text), nil)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "SECRETS") {
			t.Errorf("%.60q: %v, want %q", text, err, want)
		}
	}
	if _, err := LoadTokens(filepath.Join(t.TempDir(), "none"), nil); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("no file: %v", err)
	}
}

func TestTokens_ATokenFileThatOthersCanReadIsRefused(t *testing.T) {
	path := tokenFile(t, "a read "+readSecret)
	for mode, ok := range map[os.FileMode]bool{0o400: true, 0o600: true, 0o640: true, 0o440: true, 0o644: false, 0o604: false, 0o660: false, 0o602: false} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := LoadTokens(path, nil)
		if (err == nil) != ok || err != nil && !strings.Contains(err.Error(), "run chmod 600 "+path) {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
}

func TestTokens_ATokenFileOfAnotherUserIsRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	const nobody = 65534
	path := tokenFile(t, "a read "+readSecret)
	for uid, ok := range map[int]bool{0: true, nobody: false} {
		if err := os.Chown(path, uid, -1); err != nil {
			t.Fatal(err)
		}
		_, err := LoadTokens(path, nil)
		if (err == nil) != ok || err != nil && !strings.Contains(err.Error(), "belongs to the user 65534: run chown on "+path) {
			t.Errorf("owner %d: %v", uid, err)
		}
	}
}

func TestTokens_TheTokenFileIsReadAgainWhenItHasChangedAndABadOneChangesNothing(t *testing.T) {
	var log logBook
	path := tokenFile(t, "a read "+readSecret)
	tokens, err := LoadTokens(path, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	admitted := func(secret string) bool {
		tokens.mu.Lock()
		tokens.began = time.Time{} // a second has gone by
		tokens.mu.Unlock()
		_, err := tokens.admit(http.Header{"Authorization": {"Bearer " + secret}}, RoleRead)
		return err == nil
	}
	replace := func(text string, mode os.FileMode) {
		next := filepath.Join(filepath.Dir(path), "next")
		if err := os.WriteFile(next, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		settle(t, next)
		if err := os.Rename(next, path); err != nil {
			t.Fatal(err)
		}
	}
	if !admitted(readSecret) || admitted(submitSecret) {
		t.Error("at first")
	}
	replace("b read "+submitSecret, 0o600)
	if admitted(readSecret) || !admitted(submitSecret) {
		t.Error("after a change the old token is good, or the new one is not")
	}
	replace("nonsense", 0o600)
	for range 3 {
		if !admitted(submitSecret) {
			t.Error("a bad file took the tokens away")
		}
	}
	if n := strings.Count(log.String(), "stay as they were"); n != 1 {
		t.Errorf("it was complained of %d times:\n%s", n, &log)
	}
	replace("c read "+readSecret, 0o644)
	if admitted(readSecret) {
		t.Error("a file that others can read was used")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if !admitted(submitSecret) {
			t.Error("a file that is gone took the tokens away")
		}
	}
	replace("d read "+operateSecret, 0o600)
	if !admitted(operateSecret) {
		t.Error("a file that came back was not read")
	}
	if n := strings.Count(log.String(), "stay as they were"); n != 3 {
		t.Errorf("it was complained of %d times:\n%s", n, &log)
	}
	replace("e read "+readSecret, 0o600)
	if err := tokens.Reload(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := tokens.admit(http.Header{"Authorization": {"Bearer " + readSecret}}, RoleRead); err != nil {
		t.Errorf("after Reload: %v", err)
	}
}

func TestTokens_TheLogNamesTheTokenThatWasShownAndNoneWhereNoneIsNeeded(t *testing.T) {
	const body = `{"kind":"k","payload":{}}`
	open := serve(t, Config{})
	if r := open.ask("POST", "/v1/tasks", body); r.status != http.StatusCreated {
		t.Fatal(r)
	}
	if log := open.log.String(); !strings.Contains(log, "task queued") || strings.Contains(log, "by=") {
		t.Errorf("without a token: %s", log)
	}
	guarded := serve(t, Config{Tokens: openTokens(t, "batch-job submit "+submitSecret)})
	if r := guarded.ask("POST", "/v1/tasks", body, bearer(submitSecret)); r.status != http.StatusCreated {
		t.Fatal(r)
	}
	if log := guarded.log.String(); !strings.Contains(log, "by=batch-job") || strings.Contains(log, submitSecret) {
		t.Errorf("with a token: %s", log)
	}
}
