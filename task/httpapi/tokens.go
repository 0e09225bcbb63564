package httpapi

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// Role is what a token allows. None includes another.
type Role string

const (
	// RoleRead: lists, tasks, logs, queues, workers, counts and events.
	RoleRead Role = "read"
	// RoleSubmit: new tasks.
	RoleSubmit Role = "submit"
	// RoleOperate: cancel, retry and interrupt; pause and resume.
	RoleOperate Role = "operate"
)

func roles() []Role { return []Role{RoleRead, RoleSubmit, RoleOperate} }

// Tokens are the tokens of a file. Each line that is neither empty nor a comment (#) has a name, its
// roles and its secret, with spaces in between:
//
//	# NAME   ROLE[,ROLE]          SECRET
//	shop     submit               Qm9yZWQ/Tm90LWEtcmVhbC1zZWNyZXQ=
//	grafana  read                 ...
//	ops      read,submit,operate  ...
//
// A secret has at least 24 letters, digits and - . _ ~ + / =; "openssl rand -base64 24" makes a good
// one. Only their hashes are kept in memory, and nothing of them is ever logged. Several lines with
// secrets of one person need several names: a name says in the log who asked for something.
type Tokens struct {
	path string
	log  *slog.Logger

	mu      sync.Mutex
	all     []token
	file    os.FileInfo // as it was when it was checked at last; nil when it was not there
	checked time.Time
}

type token struct {
	name  string
	roles []Role
	hash  [sha256.Size]byte
}

const (
	minSecret = 24
	maxTokens = 1 << 20 // bytes of the file
	// recheckAfter is how often the file is checked at, at most.
	recheckAfter = time.Second
)

// LoadTokens reads a file of tokens. It is refused when it is readable by others than its owner and
// its group, or can be written by the group, or belongs to another user who is not root. The file is read again when a request comes after it
// has changed; if that fails the tokens stay what they were, and the logger hears of it. Nil as the
// logger means slog.Default().
func LoadTokens(path string, log *slog.Logger) (*Tokens, error) {
	if log == nil {
		log = slog.Default()
	}
	t := &Tokens{path: path, log: log}
	if err := t.Reload(); err != nil {
		return nil, err
	}
	return t, nil
}

// Reload reads the file again, now. After an error the tokens are what they were.
func (t *Tokens) Reload() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.reload()
}

func (t *Tokens) reload() error {
	t.checked = time.Now()
	all, info, err := readTokens(t.path)
	if err != nil {
		return fmt.Errorf("token file %s: %w", t.path, err)
	}
	t.all, t.file = all, info
	return nil
}

// refresh reads the file again if it has changed. The caller holds mu.
func (t *Tokens) refresh() {
	if time.Since(t.checked) < recheckAfter {
		return
	}
	t.checked = time.Now()
	info, err := os.Stat(t.path)
	if err == nil && t.file != nil && os.SameFile(info, t.file) && info.ModTime().Equal(t.file.ModTime()) &&
		info.Size() == t.file.Size() && info.Mode() == t.file.Mode() {
		return
	}
	switch {
	case err == nil:
		t.file = info
		err = t.reload()
	case t.file == nil:
		return // said already
	default:
		t.file = nil
	}
	if err != nil {
		t.log.Error("the tokens stay as they were: the changed token file cannot be used", "error", err)
		return
	}
	t.log.Info("token file read again", "file", t.path, "tokens", len(t.all))
}

func readTokens(path string) ([]token, os.FileInfo, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if err := checkMode(info, path); err != nil {
		return nil, nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxTokens+1))
	if err != nil {
		return nil, nil, err
	}
	all, err := parseTokens(b)
	return all, info, err
}

// checkMode refuses a file that others can read, or that another user owns, who could change its
// mode and what is in it. Windows has no such bits.
func checkMode(info os.FileInfo, path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	if mode := info.Mode().Perm(); mode&0o027 != 0 {
		return fmt.Errorf("its mode %#o lets others read it or its group write it: run chmod 600 %s, or in Kubernetes give the secret's volume the defaultMode 0440", mode, path)
	}
	if uid, foreign := foreignOwner(info); foreign {
		return fmt.Errorf("it belongs to the user %d: run chown on %s, so that it belongs to the server's user or to root", uid, path)
	}
	return nil
}

// parseTokens reads the lines of a file. No error has a part of a secret.
func parseTokens(b []byte) ([]token, error) {
	if len(b) > maxTokens {
		return nil, fmt.Errorf("more than %d bytes", maxTokens)
	}
	var all []token
	n := 0
	for line := range strings.Lines(string(b)) {
		n++
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		t, err := parseToken(fields)
		if err == nil && slices.ContainsFunc(all, func(o token) bool { return o.name == t.name }) {
			err = fmt.Errorf("the name %s stands there twice", t.name)
		}
		if err == nil && slices.ContainsFunc(all, func(o token) bool { return o.hash == t.hash }) {
			err = errors.New("the secret is another token's too")
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		all = append(all, t)
	}
	if len(all) == 0 {
		return nil, errors.New("it has no token: write lines of NAME ROLE[,ROLE] SECRET into it, with the roles read, submit, operate")
	}
	return all, nil
}

func parseToken(fields []string) (t token, err error) {
	if len(fields) != 3 {
		return t, fmt.Errorf("%d words: write NAME ROLE[,ROLE] SECRET", len(fields))
	}
	t.name = fields[0]
	if len(t.name) > 100 || strings.ContainsFunc(t.name, func(c rune) bool { return c < '!' || c > '~' }) {
		return t, errors.New("the name must be at most 100 letters, digits and signs of ASCII")
	}
	for r := range strings.SplitSeq(fields[1], ",") {
		if !slices.Contains(roles(), Role(r)) {
			return t, errors.New("the second word must be roles, with commas in between: read, submit, operate")
		}
		t.roles = append(t.roles, Role(r))
	}
	if len(fields[2]) < minSecret || strings.ContainsFunc(fields[2], notInToken) {
		return t, fmt.Errorf("the secret must have at least %d letters, digits and - . _ ~ + / = : make one with openssl rand -base64 24", minSecret)
	}
	t.hash = sha256.Sum256([]byte(fields[2]))
	return t, nil
}

// notInToken: RFC 6750 says what a bearer token may be made of.
func notInToken(c rune) bool {
	return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-._~+/=", c))
}

// admit returns the name of the token that a request shows, and an error unless it has the role.
// Hashes are compared, of equal length and all of them, so that the time tells nothing.
func (t *Tokens) admit(h http.Header, role Role) (name string, err error) {
	scheme, secret, _ := strings.Cut(h.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", problem("unauthorized", "a token is needed: send the header Authorization: Bearer SECRET, with a secret of the server's token file")
	}
	hash := sha256.Sum256([]byte(strings.TrimSpace(secret)))
	t.mu.Lock()
	t.refresh()
	all := t.all
	t.mu.Unlock()
	found := -1
	for i := range all {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(hash[:], all[i].hash[:]), i, found)
	}
	if found < 0 {
		return "", problem("unauthorized", "this token is not known: it was mistyped, or is no longer in the server's token file")
	}
	if !slices.Contains(all[found].roles, role) {
		return all[found].name, problem("forbidden", "the token %s lacks the role %s: use another one, or add the role to its line in the server's token file", all[found].name, role)
	}
	return all[found].name, nil
}

// Require returns a handler for what a program serves beside the tasks, as its metrics: it hands on a
// request that shows a token with the role, and answers any other one as [Handler] does.
func (t *Tokens) Require(role Role, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := t.admit(r.Header, role)
		if err == nil {
			next.ServeHTTP(w, r)
			return
		}
		a, p := &answer{ResponseWriter: w}, problemOf(err)
		a.Header().Set("X-Content-Type-Options", "nosniff")
		a.Header().Set("Cache-Control", "no-store")
		a.Header().Set("WWW-Authenticate", challenge(err))
		_ = a.json(p.Status, asProblem, p) // a problem always encodes
	})
}

// challenge is the header WWW-Authenticate for a refusal, as RFC 6750 has it.
func challenge(err error) string {
	p := problemOf(err)
	switch {
	case p.Status == http.StatusForbidden:
		return `Bearer realm="lastcall", error="insufficient_scope"`
	case strings.HasPrefix(p.Detail, "a token is needed"):
		return `Bearer realm="lastcall"`
	}
	return `Bearer realm="lastcall", error="invalid_token"`
}
