//! What a program can check of how the code looks.
