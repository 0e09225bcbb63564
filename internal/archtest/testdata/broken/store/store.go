// Package store may import core.
package store

import (
	_ "broken.test/core"
	_ "broken.test/suite"
	_ "example.test/elsewhere/deep"
)
