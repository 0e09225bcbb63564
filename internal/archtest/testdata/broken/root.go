// Package broken breaks every rule once.
package broken

import (
	_ "strings"

	_ "broken.test/core"
)
