"""Shows filedropd to ``twistd``."""

from twisted.application.service import ServiceMaker

filedropd = ServiceMaker("filedropd", "filedropd.tap", "A one-time file drop.", "filedropd")
