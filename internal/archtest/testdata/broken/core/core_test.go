package core

import _ "broken.test/suite"
