package rehearse

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// failure is why a request failed.
type failure string

const (
	refused    failure = "refused"     // nobody listened
	dropped    failure = "dropped"     // the connection was closed before the answer had begun
	reset      failure = "reset"       // the same, by a reset
	cut        failure = "cut off"     // it ended in the middle of the answer
	timedOut   failure = "timed out"   // no answer in requestTimeout
	serverSaid failure = "server said" // a status of 500 or above
	otherwise  failure = "failed"
)

// result is one request that failed.
type result struct {
	target *target
	client client
	// begun is when it was connected, or when a failed attempt to connect began.
	begun, end time.Time
	took       time.Duration // without the lateness of this process
	failure    failure
	text       string
}

// closed reports whether the connection ended before an answer had begun.
func (r *result) closed() bool { return r.failure == dropped || r.failure == reset }

// errWithin is part of an error that occurred after an answer had begun.
var errWithin = errors.New("within the answer")

// classify returns the kind of failure for an error of a request.
func classify(err error) failure {
	var timeout net.Error
	var said saidError
	what := otherwise
	switch {
	case errors.As(err, &said):
		return serverSaid
	case errors.Is(err, syscall.ECONNREFUSED):
		return refused
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNABORTED):
		what = reset
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		what = dropped
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return timedOut
	}
	if errors.Is(err, errWithin) && what != otherwise {
		return cut
	}
	return what
}

// errLate is the error of a request that this process had no processor to send in time.
var errLate = errors.New("too late to be sent")

// isOurs reports whether this process had run out of something that a request needs: files, ports,
// memory or places for requests in flight.
func isOurs(err error) bool {
	for _, short := range []error{errTooMany, errLate, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL} {
		if errors.Is(err, short) {
			return true
		}
	}
	return false
}
