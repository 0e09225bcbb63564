// Package core may import nothing of ours.
package core

import _ "fmt"
