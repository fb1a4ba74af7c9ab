-- A task of its own, before everything else: the tasks after it run side by side, and two of them
-- creating one schema would conflict.

CREATE SCHEMA IF NOT EXISTS staging;
CREATE SCHEMA IF NOT EXISTS marts;
