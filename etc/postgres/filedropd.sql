-- The role and the database; by a superuser, once: runuser -u postgres -- psql <etc/postgres/filedropd.sql
-- The tables are made by the first daemon that starts, and brought up to date by the first one of a newer version.
-- No password: by the UNIX socket PostgreSQL asks the kernel who it is ("peer" in pg_hba.conf, as Debian has it).

CREATE ROLE filedropd LOGIN;
CREATE DATABASE filedropd OWNER filedropd ENCODING 'UTF8' TEMPLATE template0;
