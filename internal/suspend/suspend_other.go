//go:build !linux

package suspend

import "time"

var began = time.Now()

func total() time.Duration {
	now := time.Now()
	return now.Round(0).Sub(began.Round(0)) - now.Sub(began)
}
