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

// kind is a kind of fault.
type kind struct {
	name  string
	what  string // one sentence for the reader
	scope scope
	store string // the only store it is for; empty: all
	asked bool   // made only if it is requested by name
	// timing chooses how long a fault lasts.
	timing func(*rand.Rand) timing
	// needs returns why the fault cannot be made here. A nil needs means that it always can.
	needs func(*run) error
	// do makes a fault. It returns when the fault is over, or when ctx ends, which must end the fault
	// too.
	do func(ctx context.Context, r *run, f Fault) error
}

// allKinds is the table of the kinds of faults.
func allKinds() []kind {
	return slices.Concat(processKinds(), memoryKinds(), clockKinds(), networkKinds(), storeKinds(), schemaKinds())
}

// kindsFor returns the kinds for a store with the given names, or all of them if there are no
// names.
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

// roundly drops digits that nobody reads.
func roundly(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
