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

// Tokens are the tokens of a file. Each line that is neither empty nor a comment (#) has a name,
// its roles and its secret, with spaces in between:
//
//	# NAME   ROLE[,ROLE]          SECRET
//	shop     submit               Qm9yZWQ/Tm90LWEtcmVhbC1zZWNyZXQ=
//	grafana  read                 ...
//	ops      read,submit,operate  ...
//
// A secret has at least 24 letters, digits and - . _ ~ + / =; "openssl rand -base64 24" makes a
// good one. Only their hashes are kept in memory, and nothing of them is ever logged. Several lines
// with secrets of one person need several names: a name says in the log who asked for something. A
// file that is to let nobody in has the line "none" instead.
//
// The file is read again when a request comes after it has changed, and taken when it has been left
// alone for a second: what is written in place is half written for a while. One whose last line has
// no newline may have been cut in the middle of a secret: it is taken after ten seconds, and the
// logger hears of it before that. [LoadTokens] and [Tokens.Reload] take it after a second too,
// since who calls them says that the file is written. When it cannot be read or has a mistake, or
// is empty, the tokens stay what they were, and the logger hears of it once a minute. A request
// waits for a file that hangs, on a network for instance, a quarter of a second at most.
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
	looking chan struct{} // closes when the present look has ended; nil when there is none
	began   time.Time     // the last look
	outcome outcome       // of the last look that has ended
	// complaint is what was logged last, and told when.
	complaint string
	told      time.Time
}

// outcome is what a look has found: tokens that are in force, a file that must settle first, or an
// error.
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
	// settled is for how long a file must have been left alone, and settledUnfinished for how long
	// one without a newline at its end, unless somebody says that it is written.
	settled           = time.Second
	settledUnfinished = 10 * time.Second
	// lookPatience is how long requests wait for a look that has begun, and stuckAfter when it is
	// complained of.
	lookPatience = 250 * time.Millisecond
	stuckAfter   = 5 * time.Second
	// reloadPatience is how long Reload waits, and settleStep how often it looks meanwhile.
	reloadPatience = 10 * time.Second
	settleStep     = 50 * time.Millisecond
	// complainEvery is how often the same complaint is repeated.
	complainEvery = time.Minute
)

// LoadTokens reads a file of tokens. It is refused when it is readable by others than its owner and
// its group, or can be written by the group, or belongs to another user who is not root. One that
// has just been written is waited for, for a second. Nil as the logger means slog.Default().
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
// what they were. It ends with ctx, and gives up after ten seconds.
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

// look begins to read the file. The goroutine is one at a time, and ends by itself: whoever wants
// the result waits for as long as it has time, since reading may hang in the kernel. The caller
// holds mu, and no look is under way. A file without a newline at its end must have been left alone
// for the time unfinished.
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

// take puts tokens in force when the file is another one than before, and has been left alone for
// wait. The caller holds mu.
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
		// By two looks, where its time is not one of this clock.
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
		if t.taken != nil { // otherwise the caller of LoadTokens hears of it
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

// complain logs why the file is not taken, the same once a minute. The caller holds mu.
func (t *Tokens) complain(err error, now time.Time) {
	if err.Error() == t.complaint && now.Sub(t.told) < complainEvery {
		return
	}
	t.complaint, t.told = err.Error(), now
	t.log.Error("the tokens stay as they were: the token file cannot be used", "error", err)
}

// admit returns the name of the token that a request shows, and an error unless it has the role.
// Hashes are compared, of equal length and all of them, so that the time tells nothing.
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

// Require returns a handler for what a program serves beside the tasks, as its metrics: it hands on
// a request that shows a token with the role, and answers any other one as [Handler] does.
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
