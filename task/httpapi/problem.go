package httpapi

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/lastcall-go/lastcall/task"
)

// Problem is an error of this API, in the form of RFC 9457. With errors.Is it matches the
// corresponding error of package task.
type Problem struct { //nolint:errname // RFC 9457 calls it a problem
	// Type is a URI that never changes: its end, after #, is the name of the problem.
	Type string `json:"type"`
	// Title is that name in words, Status the HTTP status.
	Title  string `json:"title"`
	Status int    `json:"status"`
	// Detail is what is wrong here, and what to do.
	Detail string `json:"detail"`
	// Request is the id under which the server's log has the reason. The client gets only the kind of
	// the reason, because the full text may have addresses and names that are not for everyone. Only a
	// problem of the server has a Request.
	Request string `json:"request,omitempty"`
}

// Error returns the detail.
func (p *Problem) Error() string { return p.Detail }

// Is reports whether target is the error of package task that corresponds to the problem.
func (p *Problem) Is(target error) bool {
	for _, k := range problems {
		if p.Type == problemBase+k.name && k.is != nil && errors.Is(k.is, target) {
			return true
		}
	}
	return false
}

// adviceUnavailable is what to do when the store has failed.
const adviceUnavailable = "what was requested may still have been done: send it again, a submit with the same id"

// problemBase begins every type. The page explains each.
const problemBase = "https://github.com/lastcall-go/lastcall/blob/main/docs/http.md#"

// sort is what problems of one type have in common.
type sort struct {
	name   string
	status int
	title  string
	is     error  // the corresponding error of package task
	advice string // what to do, where the detail does not say it itself
}

// problems are all sorts. A name is a promise: clients compare types.
var problems = []sort{
	{"invalid", http.StatusBadRequest, "The request is not understood", task.ErrInvalid, ""},
	{"unauthorized", http.StatusUnauthorized, "A token is needed", nil, ""},
	{"forbidden", http.StatusForbidden, "The token lacks a role", nil, ""},
	{"cross-origin", http.StatusForbidden, "The request comes from a page of another origin", nil, ""},
	{"not-found", http.StatusNotFound, "There is no such task", task.ErrNotFound, "look for it with GET /v1/tasks; an ended task is removed after a while"},
	{"no-such-route", http.StatusNotFound, "There is no such address", nil, ""},
	{"method-not-allowed", http.StatusMethodNotAllowed, "The address does not have this method", nil, ""},
	{"already-finished", http.StatusConflict, "The task has ended", task.ErrAlreadyFinished, "nothing is left to be done; GET it to see how it ended"},
	{"running", http.StatusConflict, "The task is running", task.ErrRunning, "wait for its end, or cancel or interrupt it first"},
	{"not-running", http.StatusConflict, "The task is not running", task.ErrNotRunning, "GET it to see what it does"},
	{"not-ended", http.StatusConflict, "The task has not ended", task.ErrNotEnded, "cancel it, and delete it when it has ended"},
	{"key-busy", http.StatusConflict, "The key is in other hands", task.ErrKeyBusy, "send it again in a moment, or look for the unfinished task that has the key"},
	{"id-conflict", http.StatusConflict, "The id is another task's", task.ErrIDConflict, "it has another kind or payload, and nothing was recorded: choose a new id, or send the same task again as it was"},
	{"too-large", http.StatusRequestEntityTooLarge, "The request is too large", task.ErrInvalid, ""},
	{"unsupported-media-type", http.StatusUnsupportedMediaType, "The Content-Type is not the right one", nil, ""},
	{"wrong-host", http.StatusMisdirectedRequest, "The Host is not this machine", nil, ""},
	{"unknown-kind", http.StatusUnprocessableEntity, "No running worker knows the kind", task.ErrUnknownKind, ""},
	{"unavailable", http.StatusServiceUnavailable, "The store does not answer", nil, ""},
	{"too-many-streams", http.StatusServiceUnavailable, "Too many streams of events", nil, ""},
}

// problem returns a problem of a sort that exists.
func problem(name, format string, args ...any) *Problem {
	for _, k := range problems {
		if k.name == name {
			return &Problem{Type: problemBase + name, Title: k.title, Status: k.status, Detail: fmt.Sprintf(format, args...)}
		}
	}
	panic("httpapi: no type of problem is called " + name)
}

// problemOf turns an error of this package, of package task or of a store into a problem. A problem
// of the server gets an id, under which the caller logs the error.
func problemOf(err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	for _, k := range problems {
		if k.is == nil || !errors.Is(err, k.is) {
			continue
		}
		if k.advice == "" {
			return problem(k.name, "%v", err)
		}
		return problem(k.name, "%v: %s", err, k.advice)
	}
	return unavailable(err)
}

// unavailable returns the problem of a store that has failed. It names only the kind of the
// failure: the error may have paths, addresses and names of users.
func unavailable(err error) *Problem {
	class := "the store does not answer, or refuses"
	switch {
	case errors.Is(err, task.ErrStoreFull):
		class = "the store has no room left"
	case errors.Is(err, errStoreLate) || errors.Is(err, context.DeadlineExceeded):
		class = "the store has not answered in time"
	case errors.Is(err, task.ErrClosed):
		class = "the store is closed, since the server stops"
	}
	p := problem("unavailable", "%s", class)
	p.Request = strings.ToLower(rand.Text()[:12])
	p.Detail = fmt.Sprintf("%s (the server's log says why, at request=%s): %s", class, p.Request, adviceUnavailable)
	return p
}
