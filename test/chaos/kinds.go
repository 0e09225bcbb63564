//go:build linux

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// The stores.
const (
	sqlite   = "sqlite"
	postgres = "postgres"
)

// kind is a kind of faults.
type kind struct {
	name  string
	what  string // one sentence for the reader
	scope scope
	store string // the only one that it is for; empty: all
	asked bool   // it is made only when it is asked for by its name
	// timing chooses how long a fault lasts.
	timing func(*rand.Rand) timing
	// needs says why a fault cannot be made here; nil: it can, always.
	needs func(*run) error
	// do makes a fault and returns when it is over, or ctx ends, which must end the fault too.
	do func(ctx context.Context, r *run, f Fault) error
}

// allKinds is the table of the kinds of faults.
func allKinds() []kind {
	return slices.Concat(processKinds(), memoryKinds(), clockKinds(), networkKinds(), storeKinds(), schemaKinds())
}

// kindsFor returns the kinds for a store that were asked for, by their names; none is all.
func kindsFor(store string, names []string) ([]kind, error) {
	var some []kind
	missing := slices.Clone(names)
	for _, k := range allKinds() {
		i := slices.Index(missing, k.name)
		if i >= 0 {
			missing = slices.Delete(missing, i, i+1)
		}
		if (k.store == "" || k.store == store) && (len(names) == 0 && !k.asked || i >= 0) {
			some = append(some, k)
		}
	}
	if len(missing) > 0 {
		var known []string
		for _, k := range allKinds() {
			known = append(known, k.name)
		}
		return nil, fmt.Errorf("no kind of faults is called %s; there are %s", strings.Join(missing, ", "), strings.Join(known, ", "))
	}
	return some, nil
}

// instant is the timing of a fault that is over at once.
func instant(settle time.Duration) func(*rand.Rand) timing {
	return func(*rand.Rand) timing { return timing{settle: settle} }
}

// between is the timing of a fault that lasts.
func between(least, most, settle time.Duration) func(*rand.Rand) timing {
	return func(r *rand.Rand) timing {
		return timing{lasts: roundly(least + time.Duration(r.Int64N(int64(most-least)))), settle: settle}
	}
}

// roundly leaves out what nobody reads.
func roundly(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
