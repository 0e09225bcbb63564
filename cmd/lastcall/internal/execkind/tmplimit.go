package execkind

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lastcall-go/lastcall/cmd/lastcall/internal/confine"
)

const (
	// measureEvery is the shortest time between two measurements of a run's directory. A measurement
	// that takes long is followed by a rest of measureRest times as long.
	measureEvery = 250 * time.Millisecond
	measureRest  = 10
)

// errTooDeep is the error of directories that are nested deeper than a path can be long.
var errTooDeep = errors.New("its directories are too deep in each other to be measured")

// tmpError ends a program that has exceeded its limit of TMPDIR.
type tmpError struct{ text string }

func (e *tmpError) Error() string { return e.text }

// measure measures the run's directory until the program has ended, and sends an error if it takes
// too much.
func (x *execution) measure(tooMuch chan<- error) {
	for pause := measureEvery; ; {
		select {
		case <-x.program.done:
			return
		case <-time.After(pause):
		}
		begin := time.Now()
		n, err := x.folder.usage(x.kind.MaxTmp)
		pause = max(measureEvery, measureRest*time.Since(begin))
		switch {
		case errors.Is(err, errTooDeep):
			tooMuch <- &tmpError{fmt.Sprintf("its limit of TMPDIR (%s) cannot be held: %v: the program was killed", confine.FormatSize(x.kind.MaxTmp), err)}
			return
		case err != nil: // the server lacks descriptors, perhaps
			x.runner.Logger.Warn("cannot measure a run's directory; trying again", "task", x.run.ID(), "kind", x.kind.Name, "error", err)
		case n > x.kind.MaxTmp:
			tooMuch <- &tmpError{fmt.Sprintf("its limit of TMPDIR (%s) was exceeded: the program was killed; let it write less there, or raise limits.tmpdir of kind %s",
				confine.FormatSize(x.kind.MaxTmp), x.kind.Name)}
			return
		}
	}
}

// killNow has the tree killed, without time for the program to end by itself.
func (x *execution) killNow(ctx context.Context) {
	x.killAt = time.Now()
	x.overdue = time.After(obey(ctx))
	x.program.stop(0)
}
