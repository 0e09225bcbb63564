package core

import _ "broken.test/other"
