package httpapi

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lastcall-go/lastcall/internal/safelog"
)

// Role is what a token allows. No role includes another.
type Role string

const (
	// RoleRead: lists, tasks, logs, steps, queues, schedules, workers, counts and events.
	RoleRead Role = "read"
	// RoleSubmit: new tasks.
	RoleSubmit Role = "submit"
	// RoleOperate: cancel, retry, interrupt and delete tasks, one by one or by a filter; pause and
	// resume queues and schedules; run schedules.
	RoleOperate Role = "operate"
)

func roles() []Role { return []Role{RoleRead, RoleSubmit, RoleOperate} }

// Tokens are the tokens of a file. Each line that is neither empty nor a comment (#) has a name,
// its roles and its secret, separated by spaces:
//
//	# NAME   ROLE[,ROLE]          SECRET
//	shop     submit               Qm9yZWQ/Tm90LWEtcmVhbC1zZWNyZXQ=
//	grafana  read                 ...
//	ops      read,submit,operate  ...
//
// A secret has at least 24 letters, digits and - . _ ~ + / =; "openssl rand -base64 24" makes a
// good one. Only hashes of the secrets are kept in memory, and no part of them is ever logged. If
// one person has several secrets, each needs a line with a name of its own: the log names who
// requested something. A file that is to admit nobody has the line "none" instead.
//
// Changes of the file:
//
//   - The file is read again when a request comes after it has changed. Its tokens take effect when
//     it has not been written to for a second, because a file that is written in place is half
//     written for a while.
//   - A file whose last line has no newline may have been cut in the middle of a secret. It takes
//     effect after ten seconds, and a warning is logged before that. After [LoadTokens] and
//     [Tokens.Reload] it takes effect after a second too, because their caller declares that the
//     file is complete.
//   - If the file cannot be read, has a mistake, or is empty, the tokens stay as they were, and a
//     warning is logged once a minute.
//   - A request waits at most a quarter of a second for a file that hangs, on a network for
//     instance.
type Tokens struct {
	path string
	log  *slog.Logger
	read func(path string) (foundTokens, error) // readTokenFile, but in tests

	mu      sync.Mutex
	all     []token
	taken   os.FileInfo   // of the file whose tokens these are
	fresh   os.FileInfo   // of one that has changed, and has not settled; or nil
	since   time.Time     // when that was seen first
	warned  bool          // that its last line has no newline
	looking chan struct{} // closes when the present look has ended; nil if there is none
	began   time.Time     // the last look
	outcome outcome       // of the last look that has ended
	// complaint is what was logged last, and told when.
	complaint string
	told      time.Time
}

// outcome is the result of a look at the file: tokens that are in force, a file that must settle
// first, or an error.
type outcome struct {
	unsettled bool
	err       error
}

type token struct {
	name  string
	roles []Role
	hash  [sha256.Size]byte
}

const (
	// recheckAfter is how often a look at the file begins, at most.
	recheckAfter = time.Second
	// settled is how long a file must not have been written to, and settledUnfinished how long one
	// without a newline at its end, unless a caller declares that it is complete.
	settled           = time.Second
	settledUnfinished = 10 * time.Second
	// lookPatience is how long requests wait for a look that has begun, and stuckAfter how long a look
	// may take before a warning is logged.
	lookPatience = 250 * time.Millisecond
	stuckAfter   = 5 * time.Second
	// reloadPatience is how long Reload waits, and settleStep how often it looks meanwhile.
	reloadPatience = 10 * time.Second
	settleStep     = 50 * time.Millisecond
	// complainEvery is how often the same complaint is repeated.
	complainEvery = time.Minute
)

// LoadTokens reads a file of tokens. It refuses a file that users other than its owner and its
// group can read, that the group can write, or that belongs to another user who is not root. If the
// file has just been written, LoadTokens waits for a second. A nil logger means slog.Default().
func LoadTokens(path string, log *slog.Logger) (*Tokens, error) {
	log = safelog.New(log)
	t := &Tokens{path: path, log: log, read: readTokenFile}
	if err := t.Reload(context.Background()); err != nil {
		return nil, err
	}
	if len(t.all) == 0 {
		log.Warn("the token file lets nobody in: it has the line none", "file", path)
	}
	return t, nil
}

// Reload reads the file again, now, and waits until it has settled. After an error the tokens are
// those from before. Reload returns when ctx ends, and after ten seconds at the latest.
func (t *Tokens) Reload(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, reloadPatience, fmt.Errorf("it cannot be read, or changes all the time: tried for %v", reloadPatience))
	defer cancel()
	for {
		t.mu.Lock()
		earlier := t.looking
		if earlier == nil {
			t.look(settled)
		}
		ended := t.looking
		t.mu.Unlock()
		select {
		case <-ended:
		case <-ctx.Done():
			return fmt.Errorf("token file %s: %w", t.path, context.Cause(ctx))
		}
		if earlier != nil {
			continue // it may have begun before the file was changed
		}
		t.mu.Lock()
		o := t.outcome
		t.mu.Unlock()
		if !o.unsettled {
			return o.err
		}
		select {
		case <-time.After(settleStep):
		case <-ctx.Done():
			return fmt.Errorf("token file %s: %w", t.path, context.Cause(ctx))
		}
	}
}

// current returns the tokens, after a look at the file if it is time for one.
func (t *Tokens) current() []token {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.looking == nil && time.Since(t.began) >= recheckAfter {
		t.look(settledUnfinished)
	}
	if t.looking == nil {
		return t.all
	}
	ended, age := t.looking, time.Since(t.began)
	if age >= stuckAfter {
		t.complain(fmt.Errorf("token file %s: reading it does not end: is it on a network that is away?", t.path), time.Now())
	}
	if age >= lookPatience {
		return t.all
	}
	timer := time.NewTimer(lookPatience - age)
	defer timer.Stop()
	t.mu.Unlock()
	select {
	case <-ended:
	case <-timer.C:
	}
	t.mu.Lock()
	return t.all
}

// look starts to read the file. There is one such goroutine at a time, and it ends by itself:
// callers that want the result wait only as long as they can, since reading may hang in the kernel.
// The caller holds mu, and no look is under way. A file without a newline at its end must not have
// been written to for the time unfinished.
func (t *Tokens) look(unfinished time.Duration) {
	ended := make(chan struct{})
	t.looking, t.began = ended, time.Now()
	go func() {
		defer close(ended)
		f, err := t.read(t.path)
		t.mu.Lock()
		defer t.mu.Unlock()
		t.looking = nil
		wait := settled
		if f.unfinished {
			wait = unfinished
		}
		t.outcome = t.take(f, err, wait, time.Now())
	}()
}

// take puts tokens in force when the file has changed, and has not been written to for wait. The
// caller holds mu.
func (t *Tokens) take(f foundTokens, err error, wait time.Duration, now time.Time) outcome {
	if err == nil && sameFile(f.info, t.taken) {
		t.fresh = nil
		if t.complaint != "" {
			t.complaint = ""
			t.log.Info("the token file is again the one whose tokens are in force", "file", t.path)
		}
		return outcome{}
	}
	if f.info != nil && (f.changing || now.Sub(f.info.ModTime()) < wait) {
		// Two looks are needed, in case the file's time is not by this machine's clock.
		if f.changing || !sameFile(f.info, t.fresh) {
			t.fresh, t.since, t.warned = f.info, now, false
		}
		alone := now.Sub(t.since)
		if alone >= settled && alone < wait && !t.warned {
			t.warned = true
			t.log.Warn("the tokens stay as they were for now: the token file does not end with a newline, as one that is half written: end its last line, or leave it alone", "file", t.path, "alone", wait)
		}
		if alone < wait {
			return outcome{unsettled: true}
		}
	}
	if err != nil {
		err = fmt.Errorf("token file %s: %w", t.path, err)
		if t.taken != nil { // otherwise the caller of LoadTokens gets the error
			t.complain(err, now)
		}
		return outcome{err: err}
	}
	again := t.taken != nil
	t.all, t.taken, t.fresh, t.complaint = f.all, f.info, nil, ""
	if again {
		t.log.Info("token file read again", "file", t.path, "tokens", len(t.all))
	}
	return outcome{}
}

// complain logs why the file is not in force, the same text once a minute. The caller holds mu.
func (t *Tokens) complain(err error, now time.Time) {
	if err.Error() == t.complaint && now.Sub(t.told) < complainEvery {
		return
	}
	t.complaint, t.told = err.Error(), now
	t.log.Error("the tokens stay as they were: the token file cannot be used", "error", err)
}

// admit returns the name of the token of a request, and an error unless it has the role. It
// compares all hashes, which have equal lengths, so that the time reveals nothing.
func (t *Tokens) admit(h http.Header, role Role) (name string, err error) {
	scheme, secret, _ := strings.Cut(h.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", problem("unauthorized", "a token is needed: send the header Authorization: Bearer SECRET, with a secret of the server's token file")
	}
	hash := sha256.Sum256([]byte(strings.TrimSpace(secret)))
	all := t.current()
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

// Require returns a handler for what a program serves alongside the tasks, such as its metrics. It
// passes on a request whose token has the role, and answers any other request as [Handler] does.
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

// challenge returns the header WWW-Authenticate for a refusal, as in RFC 6750.
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
